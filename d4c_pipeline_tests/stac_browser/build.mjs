// Builds STAC Browser from its sources in node_modules, with Bootstrap's styles alone (its own need Sass).
// Usage: node build.mjs FOLDER. The page of the result reads its settings from a file config.js beside it.
import { readFile, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { basename, dirname, join } from "node:path";
import { build } from "esbuild";

const require = createRequire(import.meta.url);
const { compileScript, compileTemplate, parse, rewriteDefault } = require("vue/compiler-sfc");
const root = dirname(require.resolve("@radiantearth/stac-browser/package.json"));
const { version } = require("@radiantearth/stac-browser/package.json");
const [, , out] = process.argv;

const components = {
  name: "components of Vue 2",
  setup({ onLoad }) {
    onLoad({ filter: /\.vue$/ }, async ({ path }) => {
      const source = await readFile(path, "utf8");
      const { script, scriptSetup, template } = parse({ source, filename: basename(path) });
      const code = script || scriptSetup ? compileScript(parse({ source, filename: path }), { id: path }).content : "export default {}";
      const made = template ? compileTemplate({ source: template.content, filename: path }) : { code: "" };
      if (made.errors?.length) return { errors: made.errors.map((text) => ({ text: String(text) })) };
      const render = template ? "component.render = render; component.staticRenderFns = staticRenderFns;" : "";
      const contents = `${rewriteDefault(code, "component")}\n${made.code}\n${render}\nexport default component;`;
      return { contents, loader: "js", resolveDir: dirname(path) };
    });
  },
};

// Tiles would come from the internet: the file in which an installation lists its base maps lists none.
const maps = {
  name: "no base map",
  setup({ onLoad }) {
    onLoad({ filter: /basemaps\.config\.js$/ }, () => ({ contents: "export default () => [];", loader: "js" }));
  },
};

await build({
  entryPoints: [join(root, "src/main.js")],
  outdir: out,
  bundle: true,
  splitting: true,
  format: "esm",
  minify: true,
  logLevel: "error",
  loader: { ".scss": "empty", ".png": "dataurl", ".svg": "dataurl" },
  alias: { path: "path-browserify", "fs/promises": "./nothing.js", fs: "./nothing.js" },
  inject: ["./buffer.js"],
  define: { STAC_BROWSER_VERSION: JSON.stringify(version), CONFIG_CLI: "{}", global: "globalThis", "process.env.NODE_ENV": '"production"' },
  plugins: [components, maps],
});

const page = await readFile(join(root, "public/index.html"), "utf8");
const head = `<link rel="icon" href="data:,"><link rel="stylesheet" href="main.css"><style>.map { height: 20rem; }</style>
<script src="config.js"></script><script type="module" src="main.js"></script></head>`;
await writeFile(join(out, "index.html"), page.replace(/<%=.*?%>/g, "STAC Browser").replace("</head>", head));
