// The SQL panel: a worker runs the query, Stop ends it; the query stands in the address, the result becomes a CSV.
import { fill } from './table.js'

export function panel({ root, words, lang, file, columns, worker: address, meter }) {
  const [area, hint, run, save, duck, output] = ['textarea', '.hint', '[data-run]', '[data-csv]', '[data-duck]', '.result'].map(each => root.querySelector(each))
  const kinds = Object.fromEntries(columns.filter(column => column.kind).map(column => [column.name, column.kind]))
  const number = value => value.toLocaleString(lang)
  let worker
  let busy = false
  let result

  const wanted = new URLSearchParams(location.hash.slice(1)).get('sql')
  if (wanted) area.value = wanted

  function state(on) {
    busy = on
    run.textContent = on ? words.stop : words.run
    run.setAttribute('aria-busy', on)
  }

  function show(data) {
    if (data.bytes !== undefined) meter(data)
    if (data.error !== undefined) {
      state(false)
      hint.textContent = data.noRanges ? words.noRanges : data.error
      hint.classList.add('err')
    } else if (data.rows) {
      state(false)
      result = data
      const numbers = data.columns.map((_, i) => data.rows.some(row => typeof row[i] === 'number'))
      fill(output, data.columns, data.rows, numbers)
      save.hidden = false
      const count = `${data.more ? '> ' : ''}${number(data.rows.length)}`
      hint.textContent = words.answered.replace('{rows}', count).replace('{ms}', number(Math.round(data.ms))).replace('{requests}', number(data.requests))
    }
  }

  run.addEventListener('click', () => {
    if (busy) {
      worker.terminate()
      worker = undefined
      state(false)
      hint.textContent = words.stopped
      return
    }
    if (!worker) {
      worker = new Worker(address, { type: 'module' })
      worker.onmessage = ({ data }) => show(data)
      worker.onerror = () => show({ error: words.failed })
    }
    state(true)
    hint.classList.remove('err')
    hint.textContent = words.running
    const query = area.value.trim().replace(/;\s*$/, '')
    history.replaceState(null, '', `#${new URLSearchParams({ sql: query })}`)
    const { url, size } = file()
    worker.postMessage({ url, size, query, kinds })
  })
  area.addEventListener('keydown', event => {
    if (event.key === 'Enter' && (event.ctrlKey || event.metaKey)) run.click()
  })
  for (const button of root.querySelectorAll('[data-query]'))
    button.addEventListener('click', () => {
      area.value = button.dataset.query
      if (!busy) run.click()
    })
  duck.dataset.copy = ''
  const copied = () => (duck.dataset.copy = area.value.replace(/\b(from|join)\s+data\b/gi, `$1 '${file().url}' AS data`))
  area.addEventListener('input', copied)
  duck.addEventListener('pointerdown', copied)
  duck.addEventListener('focus', copied)
  copied()
  if (wanted) run.click()
  save.addEventListener('click', () => {
    const quoted = value => (value == null ? '' : /[",\r\n]/.test(value) ? `"${String(value).replaceAll('"', '""')}"` : value)
    const lines = [result.columns, ...result.rows].map(row => row.map(quoted).join(','))
    const link = document.createElement('a')
    link.href = URL.createObjectURL(new Blob([lines.join('\r\n')], { type: 'text/csv' }))
    link.download = 'result.csv'
    link.click()
    setTimeout(() => URL.revokeObjectURL(link.href), 1000)
  })
}
