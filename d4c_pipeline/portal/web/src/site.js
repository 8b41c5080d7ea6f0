// Every page: theme, copy buttons, tabs, and the search box, which loads the search on first use.
const page = JSON.parse(document.getElementById('page').textContent)
const root = document.documentElement
const isDark = () => (root.dataset.theme ? root.dataset.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches)

function toggleTheme() {
  root.dataset.theme = isDark() ? 'light' : 'dark'
  try {
    localStorage.setItem('theme', root.dataset.theme)
  } catch {
    // Storage is off: the choice lasts until the next page.
  }
  dispatchEvent(new Event('themechange'))
}

async function copy(button) {
  const code = button.parentElement.querySelector('code')
  const text = button.dataset.copy || code.textContent
  try {
    await navigator.clipboard.writeText(text)
  } catch {
    // Without the clipboard (plain HTTP, permissions): select the text, for the reader to copy.
    const range = document.createRange()
    range.selectNodeContents(code ?? button.previousElementSibling ?? button)
    getSelection().removeAllRanges()
    getSelection().addRange(range)
    return
  }
  const label = button.textContent
  button.textContent = page.copied
  button.classList.add('done')
  setTimeout(() => {
    button.textContent = label
    button.classList.remove('done')
  }, 1600)
}

function select(tab) {
  for (const each of tab.parentElement.querySelectorAll('[role=tab]')) {
    const on = each === tab
    each.setAttribute('aria-selected', on)
    each.tabIndex = on ? 0 : -1
    document.getElementById(each.getAttribute('aria-controls')).hidden = !on
  }
}

addEventListener('click', event => {
  const button = event.target.closest('button')
  if (!button) return
  if ('themeToggle' in button.dataset) toggleTheme()
  else if ('copy' in button.dataset) copy(button)
  else if (button.role === 'tab') select(button)
  else if ('search' in button.dataset) openSearch()
})
addEventListener('keydown', event => {
  const { target, key } = event
  if (target.role === 'tab' && /^(Arrow(Left|Right)|Home|End)$/.test(key)) {
    const tabs = [...target.parentElement.querySelectorAll('[role=tab]')]
    const step = { Home: -tabs.indexOf(target), End: tabs.length - 1 - tabs.indexOf(target), ArrowLeft: -1, ArrowRight: 1 }[key]
    const next = tabs[(tabs.indexOf(target) + step + tabs.length) % tabs.length]
    event.preventDefault()
    next.focus()
    select(next)
  }
  const typing = target.closest?.('input, textarea, select, [contenteditable]')
  if (key === '/' && !typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault()
    openSearch()
  }
})

const box = document.querySelector('.searchbox')
const [input, hits, count] = ['input', '.hits', '.count'].map(each => box.querySelector(each))
let search

async function openSearch(text) {
  if (!box.open) box.showModal()
  if (typeof text === 'string') input.value = text
  await find()
}

async function find() {
  const text = input.value.trim()
  search ??= import('./search.js')
  let found
  try {
    found = text ? await (await search).find(page, text) : []
  } catch {
    search = undefined
    count.textContent = page.searchFailed
    return
  }
  if (text !== input.value.trim()) return // the reader typed on
  count.textContent = !text ? '' : found.length ? page.results.replace('{n}', found.length.toLocaleString(page.lang)) : page.nothing
  hits.replaceChildren(...found.slice(0, 20).map(hit))
}

function hit({ path, title, about }) {
  const item = document.createElement('li')
  const link = document.createElement('a')
  const [name, more] = ['b', 'span'].map(each => document.createElement(each))
  link.href = path
  name.textContent = title
  name.dir = 'auto'
  more.textContent = about
  link.append(name, more)
  item.append(link)
  return item
}

input.addEventListener('input', find)
for (const link of document.querySelectorAll('[data-try]'))
  link.addEventListener('click', event => {
    event.preventDefault()
    openSearch(link.dataset.try)
  })
const form = document.querySelector('.bigsearch')
form?.addEventListener('submit', event => {
  event.preventDefault()
  openSearch(form.elements.q.value)
})
form?.elements.q.addEventListener('input', () => {
  const text = form.elements.q.value
  form.elements.q.value = ''
  openSearch(text)
})
