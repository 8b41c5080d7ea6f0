// A release's page: map, table and SQL when they come into view, and the switch of the code between version and latest.
const release = JSON.parse(document.getElementById('release').textContent)
const page = JSON.parse(document.getElementById('page').textContent)
const explore = document.querySelector('.explore')
const one = selector => explore.querySelector(selector)
const words = release.words

for (const button of document.querySelectorAll('[name=target]'))
  button.addEventListener('change', () => {
    for (const code of document.querySelectorAll('[data-latest]')) {
      code.dataset.version ??= code.textContent
      code.textContent = button.value === 'latest' ? code.dataset.latest : code.dataset.version
    }
  })

const links = new Map([...document.querySelectorAll('.toc a')].map(link => [link.hash.slice(1), link]))
const seen = new IntersectionObserver(
  entries => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) for (const [id, link] of links) link.classList.toggle('on', id === target.id)
  },
  { rootMargin: '-20% 0px -70% 0px' },
)
for (const section of document.querySelectorAll('.sections > section')) seen.observe(section)

const size = bytes => {
  const [unit, amount] = bytes < 1e3 ? ['byte', bytes] : bytes < 1e6 ? ['kilobyte', bytes / 1e3] : ['megabyte', bytes / 1e6]
  return new Intl.NumberFormat(page.lang, { style: 'unit', unit, maximumFractionDigits: amount < 100 && unit === 'megabyte' ? 1 : 0 }).format(amount)
}

/** A sentence in place of a panel that can't work; the rest of the page goes on. */
function instead(panel, sentence) {
  const note = Object.assign(document.createElement('p'), { className: 'note', textContent: sentence })
  note.setAttribute('role', 'status')
  panel.replaceChildren(note)
}

async function start() {
  explore.hidden = false
  const [{ NoRangesError, footer, remote, rows }, { pages }, { panel }] = await Promise.all([import('./data.js'), import('./table.js'), import('./sql.js')])
  const parts = one('[data-part]')
  const chosen = () => release.files[parts ? Number(parts.value) : 0]
  const meter = file => (one('.meter').textContent = words.meter.replace('{read}', size(file.bytes)).replace('{size}', size(chosen().size)))
  const sentence = error => (error instanceof NoRangesError ? words.noRanges : words.unreadable)
  panel({ root: one('#panel-sql'), words, lang: page.lang, file: chosen, columns: release.columns, worker: release.sqlWorker, meter })

  let map
  let table
  let shown = new AbortController()
  let drawn = {}
  // The id of a feature is the number of its row in all files, from 1.
  const before = part => release.files.slice(0, part).reduce((sum, file) => sum + file.rows, 0)
  const idOf = row => before(parts ? Number(parts.value) : 0) + row + 1
  /** The box of a feature in tiles, which may be outside of the map: that of the row, else of what the map has loaded. */
  const boxOf = async (id, row, { file, metadata }) => {
    if (release.covering && metadata.schema.some(each => each.name === release.covering)) {
      const [{ [release.covering]: box }] = await rows(file, metadata, [release.covering], row, row + 1)
      return box && [box.xmin, box.ymin, box.xmax, box.ymax]
    }
    return map.loaded(id).map(boundsOf)[0]
  }
  const find = async (row, opened) => {
    const id = idOf(row)
    const feature = drawn[id]
    if (!map || (!feature && !release.tiles)) return
    map.mark(id)
    const box = feature ? boundsOf(feature) : await boxOf(id, row, opened)
    if (!box) return
    if (box[0] === box[2] && box[1] === box[3]) map.map.easeTo({ center: box.slice(0, 2), zoom: Math.max(map.map.getZoom(), 9) })
    else map.map.fitBounds(box, { padding: 40, maxZoom: 14 })
  }

  async function openTable() {
    const { url, size: length, rows: count } = chosen()
    const file = remote(url, length, meter)
    const metadata = await footer(file)
    shown.abort()
    shown = new AbortController()
    const onselect = row => find(row, { file, metadata })
    const own = { table: one('.data'), where: one('.where'), words, lang: page.lang, columns: release.columns, file, metadata, count, onselect, signal: shown.signal }
    table = pages({ ...own, buttons: { previous: one('[data-previous]'), next: one('[data-next]') } })
    await table.show(0)
    return { file, metadata, count }
  }

  async function openMap(opened) {
    const container = one('#map')
    const probe = document.createElement('canvas')
    if (!(probe.getContext('webgl2') ?? probe.getContext('webgl'))) return instead(container, words.noWebgl)
    const { open } = await import('./map.js')
    container.replaceChildren()
    const { mapSheet: sheet, mapWorker: worker, base, bounds, tiles, attribution } = release
    const pick = async id => {
      const part = release.files.findLastIndex((_, place) => before(place) < id)
      if (parts && Number(parts.value) !== part) {
        parts.value = String(part)
        await openTable()
      }
      await table?.goTo(id - 1 - before(part))
    }
    map = await open({ container, sheet, worker, base, bounds, tiles, attribution, words: words.map, lang: page.lang, pick })
    globalThis.portalMap = map.map // for tests and the curious
    if (tiles) return undefined
    const { file, metadata, count } = await opened
    const found = await rows(file, metadata, [release.geometry], 0, count)
    const features = found.map(({ [release.geometry]: geometry }, row) => geometry && { type: 'Feature', id: row + 1, geometry, properties: {} }).filter(Boolean)
    drawn = Object.fromEntries(features.map(feature => [feature.id, feature]))
    map.setData(features)
    explore.dataset.drawn = features.length
    return undefined
  }

  const opened = openTable()
  opened.catch(error => instead(one('#panel-table'), sentence(error)))
  parts?.addEventListener('change', () => openTable().catch(error => instead(one('#panel-table'), sentence(error))))
  if (release.mapped) openMap(opened).catch(() => instead(one('#map'), words.noMap))
  if (new URLSearchParams(location.hash.slice(1)).has('sql')) document.getElementById('tab-sql').click()
}

function boundsOf({ geometry }) {
  const box = [Infinity, Infinity, -Infinity, -Infinity]
  const walk = each => {
    if (typeof each[0] !== 'number') return each.forEach(walk)
    const [x, y] = each
    box.splice(0, 4, Math.min(box[0], x), Math.min(box[1], y), Math.max(box[2], x), Math.max(box[3], y))
    return undefined
  }
  const coordinates = geometry.geometries?.map(each => each.coordinates) ?? geometry.coordinates
  walk(coordinates)
  return box
}

// After the page itself: what the reader came for is there before map and table load.
const loaded = document.readyState === 'complete' ? Promise.resolve() : new Promise(resolve => addEventListener('load', resolve))
let begun = false
const begin = () => {
  if (begun) return
  begun = true
  loaded.then(start)
}
new IntersectionObserver((entries, observer) => {
  if (!entries.some(entry => entry.isIntersecting)) return
  observer.disconnect()
  begin()
}).observe(document.getElementById('explore'))
// On a narrow screen the panel is out of view: the keyboard would pass it by while it is hidden.
document.querySelector('.toc').addEventListener('focusin', begin, { once: true })
