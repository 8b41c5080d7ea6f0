// The table of the data: 50 rows at a time, read when they are shown.
import { rows } from './data.js'

export const PAGE = 50
const text = value => {
  if (value instanceof Date) return value.toISOString().replace(/T00:00:00\.000Z$/, '')
  if (typeof value === 'object') return JSON.stringify(value, (_, each) => (typeof each === 'bigint' ? String(each) : each))
  if (typeof value === 'number' && !Number.isInteger(value)) return String(Math.round(value * 1e6) / 1e6)
  return String(value)
}

/** Fills a table with a header and rows of values; `numbers`: which columns are right-aligned. */
export function fill(table, columns, values, numbers, titles = []) {
  const [head, body] = [document.createElement('thead'), document.createElement('tbody')]
  const line = head.insertRow()
  columns.forEach((column, i) => {
    const cell = Object.assign(document.createElement('th'), { scope: 'col', textContent: column, title: titles[i] ?? '' })
    cell.classList.toggle('n', numbers[i])
    line.append(cell)
  })
  for (const row of values) {
    const each = body.insertRow()
    row.forEach((value, i) => {
      const cell = each.insertCell()
      cell.textContent = value == null ? '∅' : text(value)
      if (value == null) cell.className = numbers[i] ? 'null n' : 'null'
      else if (numbers[i]) cell.className = 'n'
      else cell.dir = 'auto'
    })
  }
  table.replaceChildren(head, body)
  return body
}

/** The pages of a file's rows, until `signal` ends them. `onselect` is called with the number of the row that the reader chose. */
export function pages({ table, where, buttons, words, lang, columns, file, metadata, count, onselect, signal }) {
  let first = 0
  let body
  const names = columns.map(column => column.name)
  const number = value => value.toLocaleString(lang)

  async function show(from) {
    first = Math.max(0, Math.min(from - (from % PAGE), count - 1))
    const last = Math.min(first + PAGE, count)
    const own = first
    const found = count ? await rows(file, metadata, names, first, last) : []
    if (own !== first || signal.aborted) return // another page was chosen meanwhile
    body = fill(table, names, found.map(row => names.map(name => row[name])), columns.map(column => column.number), columns.map(column => column.description))
    for (const [i, row] of [...body.rows].entries()) Object.assign(row, { tabIndex: i ? -1 : 0 }).dataset.row = first + i
    where.textContent = words.rows.replace('{first}', number(count && first + 1)).replace('{last}', number(last)).replace('{count}', number(count))
    buttons.previous.disabled = first === 0
    buttons.next.disabled = last >= count
    table.closest('.scroller').scrollTop = 0
  }

  function select(row) {
    for (const each of body.rows) each.setAttribute('aria-selected', Number(each.dataset.row) === row)
    body.querySelector('[aria-selected=true]')?.scrollIntoView({ block: 'nearest' })
  }

  async function goTo(row) {
    if (row < first || row >= first + PAGE) await show(row)
    select(row)
  }

  buttons.previous.addEventListener('click', () => show(first - PAGE), { signal })
  buttons.next.addEventListener('click', () => show(first + PAGE), { signal })
  const chosen = row => {
    select(Number(row.dataset.row))
    onselect(Number(row.dataset.row))
  }
  table.addEventListener('click', event => {
    const row = event.target.closest('tbody tr')
    if (row) chosen(row)
  }, { signal })
  table.addEventListener('keydown', event => {
    const row = event.target.closest('tbody tr')
    const next = { ArrowDown: row?.nextElementSibling, ArrowUp: row?.previousElementSibling }[event.key]
    if (next) next.focus()
    else if (row && event.key === 'Enter') chosen(row)
    else return
    event.preventDefault()
  }, { signal })
  return { show, goTo }
}
