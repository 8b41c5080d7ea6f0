// The search, loaded on first use: a worker builds the index from the documents and answers with the places of hits.
let worker
let documents
let number = 0
const waiting = new Map()

/** The documents of all datasets, in the form of `views/documents.py`. */
export function load(page) {
  documents ??= fetch(page.documents).then(answer => {
    if (!answer.ok) throw new Error(`HTTP ${answer.status}`)
    return answer.json()
  })
  documents.catch(() => (documents = undefined))
  return documents
}

async function started(page) {
  const found = await load(page)
  if (!worker) {
    worker = new Worker(page.searchWorker, { type: 'module' })
    worker.onmessage = ({ data }) => {
      waiting.get(data.number)(data.places)
      waiting.delete(data.number)
    }
    worker.postMessage({ documents: found })
  }
  return found
}

/** The places of the documents that match `text`, the best first. */
export async function places(page, text) {
  await started(page)
  number += 1
  const own = number
  const answer = new Promise(resolve => waiting.set(own, resolve))
  worker.postMessage({ number: own, text, lang: page.lang })
  return answer
}

/** What a list shows of a document. */
export function described(page, found, place) {
  const [id, en, fr, , provider, , , , vintage, , version] = found.datasets[place]
  const title = page.lang === 'fr' ? fr || en : en
  const about = `${(found.labels.providers?.[page.lang] ?? found.providers)[provider]} · ${vintage} · v${version}`
  return { id, path: `${page.root}${page.lang}/datasets/${encodeURIComponent(id)}/`, title, about }
}

/** The datasets that match `text`, the best first. */
export async function find(page, text) {
  const [found, matches] = await Promise.all([load(page), places(page, text)])
  return matches.map(place => described(page, found, place))
}
