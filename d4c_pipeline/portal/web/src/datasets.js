// The list of datasets: facets and words, answered from the documents of the search. The choice is kept in the address.
import { described, load, places } from './search.js'

const page = JSON.parse(document.getElementById('page').textContent)
const form = document.querySelector('.facets')
const list = document.querySelector('[data-list]')
const count = document.querySelector('.found')
const before = { list: [...list.children], count: count.textContent, pages: document.querySelector('.pages') }
const shown = 100
const names = ['provider', 'package', 'region', 'licence']
const at = { provider: 4, package: 5, region: 6, licence: 7, vintage: 8, format: 9 }

form.hidden = false
document.querySelector('.browse').classList.remove('alone')

function fill(found) {
  const choices = {
    ...Object.fromEntries([...names, 'format'].map(name => [name, labels(found, name).toSorted((one, other) => one.localeCompare(other, page.lang))])),
    vintage: [...new Set(found.datasets.map(each => each[at.vintage].slice(0, 4)))].sort().reverse(),
  }
  for (const [name, options] of Object.entries(choices)) for (const label of new Set(options)) form.elements[name].add(new Option(label, label))
}

/** The labels of a facet in the page's language, by the places that datasets refer to. */
const labels = (found, name) => found.labels[`${name}s`]?.[page.lang] ?? found[`${name}s`]

function fits(found, dataset, chosen) {
  return Object.entries(chosen).every(([name, value]) => {
    if (name === 'vintage') return dataset[at.vintage].startsWith(value)
    return [dataset[at[name]]].flat().some(place => labels(found, name)[place] === value)
  })
}

async function update() {
  const chosen = Object.fromEntries(Object.keys(at).map(name => [name, form.elements[name].value]).filter(([, value]) => value))
  const text = form.elements.q.value.trim()
  const address = new URL(location.href)
  address.search = ''
  for (const [name, value] of Object.entries({ ...(text && { q: text }), ...chosen })) address.searchParams.set(name, value)
  history.replaceState(null, '', address)
  if (!text && !Object.keys(chosen).length) {
    list.replaceChildren(...before.list)
    count.textContent = before.count
    if (before.pages) before.pages.hidden = false
    return
  }
  const found = await load(page)
  const order = text ? await places(page, text) : found.datasets.keys().toArray()
  if (text !== form.elements.q.value.trim()) return
  const matches = order.filter(place => fits(found, found.datasets[place], chosen))
  count.textContent = matches.length ? page.results.replace('{n}', matches.length.toLocaleString(page.lang)) : page.nothing
  list.replaceChildren(...matches.slice(0, shown).map(place => card(described(page, found, place), found.datasets[place])))
  if (before.pages) before.pages.hidden = true
}

function card({ path, title, about }, dataset) {
  const item = document.createElement('li')
  item.className = 'card'
  const [link, picture] = [document.createElement('a'), dataset[11] ? document.createElement('img') : document.createElement('div')]
  link.href = path
  if (dataset[11]) Object.assign(picture, { src: `${page.pictures}${dataset[11]}.webp`, alt: '', width: 480, height: 300, loading: 'lazy' })
  else picture.className = 'nopic'
  const heading = document.createElement('h2')
  heading.textContent = title
  heading.dir = 'auto'
  link.append(picture, heading)
  const more = document.createElement('p')
  more.className = 'meta'
  more.textContent = about
  item.append(link, more)
  return item
}

form.addEventListener('submit', event => {
  event.preventDefault()
  update().catch(failed)
})
form.addEventListener('input', () => update().catch(failed))
const failed = () => (count.textContent = page.searchFailed)
load(page)
  .then(found => {
    fill(found)
    const wanted = new URL(location.href).searchParams
    for (const [name, value] of wanted) if (form.elements[name]) form.elements[name].value = value
    if ([...wanted.keys()].some(name => form.elements[name])) return update()
  })
  .catch(failed)
