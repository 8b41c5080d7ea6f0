// The map: base map and data, in the theme's colours, with labels in the page's language from system fonts.
import { AttributionControl, FullscreenControl, Map, NavigationControl, ScaleControl, addProtocol, setWorkerUrl } from 'maplibre-gl'
import { PMTiles, Protocol } from 'pmtiles'

const LAYERS = ['data-point', 'data-line', 'data-fill']
const LONGEST_ATTRIBUTION = 200
const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim()
/** MapLibre shows attributions as HTML. */
const escaped = text => (text.length > LONGEST_ATTRIBUTION ? '' : text).replace(/[&<>"']/g, each => `&#${each.charCodeAt(0)};`)

/** Opens the map. `bounds`: west, south, east, north; `tiles`: address, or null for features that `setData` gives. */
export async function open({ container, sheet, worker, base, bounds, tiles, attribution, words, lang, pick }) {
  await new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: sheet, onload: resolve, onerror: reject })
    document.head.append(link)
  })
  setWorkerUrl(worker)
  addProtocol('pmtiles', new Protocol().tile)
  const layer = tiles && (await new PMTiles(tiles).getMetadata()).vector_layers[0].id
  const style = () => styled({ base: new URL(base, location.href).href, tiles, layer, attribution: escaped(attribution), lang })
  const map = new Map({
    container,
    style: style(),
    bounds,
    fitBoundsOptions: { padding: 28, maxZoom: 12 },
    attributionControl: false,
    maxZoom: 17,
    locale: words,
  })
  map.addControl(new NavigationControl({ showCompass: false }), 'top-right')
  map.addControl(new FullscreenControl(), 'top-right')
  map.addControl(new ScaleControl(), 'bottom-left')
  map.addControl(new AttributionControl({ compact: true }), 'bottom-right')
  map.getCanvas().setAttribute('aria-label', words.map)

  let data
  let marked
  const own = id => ({ source: 'data', id, ...(layer && { sourceLayer: layer }) })
  function mark(id) {
    if (marked !== undefined) map.setFeatureState(own(marked), { on: false })
    marked = id
    if (id !== undefined) map.setFeatureState(own(id), { on: true })
  }
  for (const name of LAYERS) {
    map.on('mouseenter', name, () => (map.getCanvas().style.cursor = 'pointer'))
    map.on('mouseleave', name, () => (map.getCanvas().style.cursor = ''))
  }
  map.on('click', ({ point: { x, y } }) => {
    const near = [[x - 4, y - 4], [x + 4, y + 4]]
    const [feature] = map.queryRenderedFeatures(near, { layers: LAYERS })
    if (feature?.id === undefined) return
    mark(feature.id)
    pick(Number(feature.id))
  })
  const put = () => data && map.getSource('data').setData(data)
  addEventListener('themechange', () => {
    map.once('styledata', put)
    map.setStyle(style(), { diff: false })
  })
  return {
    map,
    mark,
    loaded: id => map.querySourceFeatures('data', { sourceLayer: layer }).filter(each => Number(each.id) === id),
    setData(features) {
      data = { type: 'FeatureCollection', features }
      if (map.isStyleLoaded()) put()
      else map.once('load', put)
    },
  }
}

function styled({ base, tiles, layer, attribution, lang }) {
  const own = { source: 'data', ...(layer && { 'source-layer': layer }) }
  const of = name => ({ source: 'base', 'source-layer': name })
  const on = ['boolean', ['feature-state', 'on'], false]
  const [ink, soft, line, land, sea, accent, warn, card] = ['ink', 'soft', 'line', 'land', 'sea', 'accent', 'warn', 'card'].map(name => colour(`--${name}`))
  const data = tiles ? { type: 'vector', url: `pmtiles://${tiles}` } : { type: 'geojson', data: { type: 'FeatureCollection', features: [] } }
  const isPoint = ['==', ['geometry-type'], 'Point']
  return {
    version: 8,
    sources: { base: { type: 'vector', url: `pmtiles://${base}` }, data: { ...data, attribution } },
    layers: [
      { id: 'sea', type: 'background', paint: { 'background-color': sea } },
      { id: 'land', type: 'fill', ...of('land'), paint: { 'fill-color': land } },
      { id: 'lakes', type: 'fill', ...of('lakes'), paint: { 'fill-color': sea } },
      { id: 'provinces', type: 'line', ...of('provinces'), paint: { 'line-color': line, 'line-dasharray': [3, 2] } },
      { id: 'borders', type: 'line', ...of('borders'), paint: { 'line-color': soft, 'line-width': 0.8, 'line-opacity': 0.6 } },
      { id: 'data-fill', type: 'fill', ...own, filter: ['==', ['geometry-type'], 'Polygon'], paint: { 'fill-color': ['case', on, warn, accent], 'fill-opacity': ['case', on, 0.55, 0.22] } },
      { id: 'data-line', type: 'line', ...own, filter: ['!', isPoint], paint: { 'line-color': ['case', on, warn, accent], 'line-width': ['case', on, 2.5, 1] } },
      {
        id: 'data-point',
        type: 'circle',
        ...own,
        filter: isPoint,
        paint: {
          'circle-radius': ['interpolate', ['linear'], ['zoom'], 2, ['case', on, 7, 2], 8, ['case', on, 8, 4], 14, ['case', on, 10, 7]],
          'circle-color': ['case', on, warn, accent],
          'circle-opacity': 0.8,
          'circle-stroke-width': ['interpolate', ['linear'], ['zoom'], 4, 0, 8, 1],
          'circle-stroke-color': card,
        },
      },
      {
        id: 'labels',
        type: 'symbol',
        ...of('labels'),
        filter: ['all', ['>=', ['zoom'], ['get', 'from']], ['<', ['zoom'], ['get', 'to']]],
        layout: {
          'text-field': ['get', lang],
          'text-font': ['sans-serif'],
          'text-size': ['match', ['get', 'kind'], 'city', 12, 11],
          'text-transform': ['match', ['get', 'kind'], 'city', 'none', 'uppercase'],
          'text-letter-spacing': ['match', ['get', 'kind'], 'city', 0, 0.12],
          'text-max-width': 7,
          'symbol-sort-key': ['get', 'from'],
        },
        paint: { 'text-color': ink, 'text-opacity': ['match', ['get', 'kind'], 'city', 0.85, 0.6], 'text-halo-color': land, 'text-halo-width': 1.4 },
      },
    ],
  }
}
