"""How the page looks: in light and in dark, on paper, with a keyboard."""

STYLE = """
:root { color-scheme: light dark; --page: #fff; --text: #1d2129; --soft: #5a6372; --line: #d9dde4;
  --panel: #f6f7f9; --accent: #1f5fbf; --mark: #fff3c4; --bar: #e0762f; --edge: #8a93a3;
  --input: #d8ecd4; --param: #f6e3c5; --const: #ece9df; --contract: #cfe0f5; --pointwise: #fff;
  --softmax: #f3d3dc; --scatter: #e4d5f2; --call: #dcdcdc; --other: #d5efee; }
@media (prefers-color-scheme: dark) {
  :root { --page: #14171c; --text: #e3e6eb; --soft: #9aa4b2; --line: #343a44; --panel: #1c2027;
  --accent: #7fb2ff; --mark: #4a4215; --bar: #f0914e; --edge: #6f7a8c; --input: #23402a;
  --param: #4b3a1c; --const: #3a382f; --contract: #1f3a5f; --pointwise: #242932;
  --softmax: #4f2733; --scatter: #3b2a52; --call: #3a3d42; --other: #1f4443; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 76rem; padding: 1.5rem; background: var(--page);
  color: var(--text); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; border-top: 1px solid var(--line);
  padding-top: 1rem; overflow-wrap: anywhere; }
h3 { font-size: 1rem; margin: 1.5rem 0 .4rem; }
p, caption { color: var(--soft); margin: .2rem 0 .5rem; text-align: left; }
a { color: var(--accent); }
nav a { margin-right: 1rem; }
code, pre, td.code, .source { font-family: ui-monospace, Menlo, Consolas, monospace; }
code, pre, td.code, .source { font-size: 13px; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: 6px; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: .3rem .7rem; text-align: left; vertical-align: top; }
th { color: var(--soft); font-weight: 600; white-space: nowrap; background: var(--panel); }
tr + tr > td { border-top: 1px solid var(--line); }
td.number, th.number { text-align: right; font-variant-numeric: tabular-nums; }
td.number { white-space: nowrap; }
td code { white-space: nowrap; }
tr.group > td { background: var(--panel); color: var(--soft); font-weight: 600; }
tr.chosen > td:first-child { box-shadow: inset 3px 0 var(--accent); }
tr:target > td { background: var(--mark); }
tbody tr:hover > td { background: var(--panel); }
.source td { padding: 0 .7rem; white-space: pre; }
.source tr + tr > td { border-top: 0; }
.source td.n { color: var(--soft); text-align: right; user-select: none; }
.meter { display: inline-block; width: 6rem; height: .55rem; background: var(--line);
  border-radius: 3px; overflow: hidden; vertical-align: middle; }
.meter > i { display: block; height: 100%; background: var(--bar); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1rem; margin: .5rem 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
details > summary { cursor: pointer; font-weight: 600; margin: 1rem 0 .4rem; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
svg { display: block; fill: var(--text); }
svg a { color: inherit; text-decoration: none; }
svg .edge { fill: none; stroke: var(--edge); }
svg .tip { fill: var(--edge); }
svg .bar { fill: var(--bar); }
svg .name { font-weight: bold; }
svg .box { stroke: var(--edge); fill: var(--other); }
svg .out .box { stroke: var(--text); stroke-width: 2; }
svg .k-input .box { fill: var(--input); }
svg .k-param .box { fill: var(--param); }
svg .k-const .box { fill: var(--const); }
svg .k-contract .box { fill: var(--contract); }
svg .k-pointwise .box { fill: var(--pointwise); }
svg .k-softmax .box { fill: var(--softmax); }
svg .k-scatter .box { fill: var(--scatter); }
svg .k-call .box { fill: var(--call); }
svg .node:hover .box, svg .node:focus .box { stroke: var(--accent); stroke-width: 3; }
@media print { nav { display: none; } .scroll { overflow: visible; } }
"""
