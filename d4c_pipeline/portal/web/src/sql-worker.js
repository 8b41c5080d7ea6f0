// SQL over one remote Parquet file, in a worker that the page can end. Only needed columns and row groups are fetched.
import { executeSql } from 'squirreling'
import { columnNames, footer, remote, scan } from './data.js'
import { pruning } from './pruning.js'

const AHEAD = 16 // row groups in flight
const AHEAD_OF_LIMIT = 2
const MOST_ROWS = 1000
let file
let table

onmessage = async ({ data: { url, size, query, kinds, prune = true } }) => {
  try {
    if (file?.url !== url) {
      file = Object.assign(remote(url, size, ({ bytes, requests }) => postMessage({ bytes, requests })), { url })
      table = undefined
    }
    table ??= await source(kinds, prune)
    const begun = performance.now()
    const result = executeSql({ tables: { data: table }, query })
    const rows = []
    let more = false
    for await (const row of result.rows()) {
      if (rows.length >= MOST_ROWS) {
        more = true
        break
      }
      rows.push(await Promise.all(row.columns.map(async column => plain(await row.cells[column]()))))
    }
    const { bytes, requests } = file
    postMessage({ rows, more, columns: result.columns, ms: performance.now() - begun, bytes, requests })
  } catch (error) {
    postMessage({ error: error.message, noRanges: error.constructor.name === 'NoRangesError' })
  }
}

/** A value as a number, text, boolean or null: what a message and a table cell can hold. */
function plain(value) {
  if (value === undefined || value === null) return null
  if (typeof value === 'bigint') return Number.isSafeInteger(Number(value)) ? Number(value) : String(value)
  if (value instanceof Date) return value.toISOString().replace(/T00:00:00\.000Z$/, '')
  if (typeof value === 'object') return JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? String(each) : each))
  return value
}

async function source(kinds, prune) {
  const metadata = await footer(file, 1 << 18)
  const columns = columnNames(metadata)
  return {
    numRows: Number(metadata.num_rows),
    columns,
    scan: ({ columns: wanted = columns, where, limit, offset }) => ({
      appliedWhere: false,
      appliedLimitOffset: false,
      rows: () => read(metadata, wanted, where, limit, offset, prune ? pruning(where, kinds) : undefined),
    }),
  }
}

async function* read(metadata, wanted, where, limit, offset, filter) {
  const found = await scan(file, metadata, wanted, filter)
  const ranges = [...found.ranges]
  if (limit !== undefined && !where) shorten(ranges, (offset ?? 0) + limit)
  const depth = limit !== undefined && where ? AHEAD_OF_LIMIT : AHEAD
  const fetched = ({ rowStart, rowEnd }) => {
    const columns = Promise.all(wanted.map(column => found.readColumn({ column, rowStart, rowEnd })))
    columns.catch(() => {}) // awaited below, in order
    return columns
  }
  const ahead = []
  let next = 0
  for (const { rowStart, rowEnd } of ranges) {
    while (ahead.length < depth && next < ranges.length) {
      ahead.push(fetched(ranges[next]))
      next += 1
    }
    const data = await ahead.shift()
    for (let i = 0; i < rowEnd - rowStart; i += 1) yield lazyRow(wanted, data, i)
  }
}

function shorten(ranges, needed) {
  let count = 0
  const last = ranges.findIndex(({ rowStart, rowEnd }) => (count += rowEnd - rowStart) >= needed)
  if (last < 0) return
  ranges.length = last + 1
  ranges[last] = { ...ranges[last], rowEnd: ranges[last].rowEnd - (count - needed) }
}

const lazyRow = (columns, data, i) => ({
  columns,
  get resolved() {
    return Object.fromEntries(columns.map((column, k) => [column, data[k][i]]))
  },
  get cells() {
    return Object.fromEntries(columns.map((column, k) => [column, () => Promise.resolve(data[k][i])]))
  },
})
