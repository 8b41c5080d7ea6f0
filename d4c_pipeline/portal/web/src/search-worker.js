// Builds the index of all datasets in both languages and searches it. Accents don't matter, words may be incomplete or
// have a small error.
import MiniSearch from 'minisearch'

const fold = text => text.normalize('NFD').replace(/\p{M}/gu, '').toLowerCase()
const index = new MiniSearch({
  fields: ['en', 'fr', 'keywords', 'provider', 'id'],
  tokenize: text => text.split(/[\s\p{P}\p{S}]+/u),
  processTerm: term => fold(term) || null,
  searchOptions: {
    boost: { en: 4, fr: 4, keywords: 2 },
    prefix: true,
    fuzzy: term => (term.length > 4 ? 0.2 : false),
    combineWith: 'AND',
  },
})

onmessage = ({ data }) => {
  if (data.documents) {
    const { datasets, providers, labels } = data.documents
    index.addAll(datasets.map(([id, en, fr, keywords, provider], place) => ({ id: place, en, fr, keywords, provider: `${providers[provider]} ${labels.providers?.fr[provider] ?? ''} ${id}` })))
    return
  }
  const boost = { en: 4, fr: 4, keywords: 2, [data.lang]: 6 }
  postMessage({ number: data.number, places: index.search(data.text, { boost }).map(found => found.id) })
}
