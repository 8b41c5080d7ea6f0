// Remote Parquet, read by ranges. No other module knows hyparquet.
import { parquetMetadataAsync, parquetReadObjects, parquetScan, parquetSchema } from 'hyparquet'
import { decompress } from 'fzstd'

const LARGEST_WHOLE = 4e6 // bytes: a server without ranges may send a file of this size
const SMALL = 1e6 // bytes: a file of this size is fetched at once, in one request
export const compressors = { ZSTD: (input, length) => decompress(input, new Uint8Array(length)) }

export class NoRangesError extends Error {}

/** A file at `url` of `byteLength` bytes; `onread` is called after each answer with the counts of bytes and requests. */
export function remote(url, byteLength, onread = () => {}) {
  let whole
  const file = { byteLength, bytes: 0, requests: 0, slice }

  async function fetched(options) {
    const answer = await fetch(url, options)
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
    if (answer.status === 200 && byteLength > LARGEST_WHOLE) {
      await answer.body?.cancel()
      throw new NoRangesError(url)
    }
    const bytes = await answer.arrayBuffer()
    file.bytes += bytes.byteLength
    file.requests += 1
    onread(file)
    return { bytes, isWhole: answer.status === 200 }
  }

  async function slice(start, end = byteLength) {
    if (byteLength <= SMALL) whole ??= fetched({}).then(({ bytes }) => bytes)
    if (whole) return exact((await whole).slice(start, end), end - start)
    const { bytes, isWhole } = await fetched({ headers: { Range: `bytes=${start}-${end - 1}` } })
    if (isWhole) whole = Promise.resolve(bytes)
    return exact(isWhole ? bytes.slice(start, end) : bytes, end - start)
  }

  return file
}

function exact(bytes, length) {
  if (bytes.byteLength !== length) throw new Error(`${bytes.byteLength} of ${length} bytes`)
  return bytes
}

export const footer = (file, size = 1 << 16) => parquetMetadataAsync(file, { initialFetchSize: Math.min(file.byteLength, size) })

/** Rows `from` to `to` as objects. */
export const rows = (file, metadata, columns, from, to) =>
  parquetReadObjects({ file, metadata, compressors, columns, rowStart: from, rowEnd: to, useOffsetIndex: true })

export const columnNames = metadata => parquetSchema(metadata).children.map(child => child.element.name)
export const scan = (file, metadata, columns, pruningFilter) => parquetScan({ file, metadata, compressors, columns, pruningFilter })
