"""How the page of a batch looks, on light and on dark screens and on paper."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --ground: #f6f7f9; --card: #fff; --ink: #1d2330; --soft: #5c6575; --line: #dfe3ea;
  --good: #1f7a45; --bad: #b3261e; }
@media (prefers-color-scheme: dark) {
  :root { --ground: #14171d; --card: #1d222b; --ink: #e8ebf0; --soft: #a0a9b8; --line: #323945; --good: #5cc98b; --bad: #ff8f86; } }
* { box-sizing: border-box; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 15px/1.5 system-ui, "Segoe UI", Roboto, Helvetica, Arial, sans-serif; }
main { max-width: 1180px; margin: 0 auto; padding: 28px 20px 40px; }
header h1 { margin: 0; font-size: 27px; letter-spacing: -.01em; }
header p { margin: 2px 0 20px; color: var(--soft); overflow-wrap: anywhere; }
h2 { margin: 0 0 12px; font-size: 17px; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 10px; padding: 18px 20px; margin-bottom: 18px; }
.numbers { display: flex; flex-wrap: wrap; gap: 12px 40px; }
.number b { display: block; font-size: 26px; line-height: 1.2; font-variant-numeric: tabular-nums; }
.number span { color: var(--soft); }
.number.good b { color: var(--good); }
.number.bad b { color: var(--bad); }
.bar { display: flex; height: 10px; border-radius: 5px; overflow: hidden; background: var(--line); }
.bar i { display: block; height: 100%; }
table { border-collapse: collapse; width: 100%; }
th, td { padding: 6px 12px 6px 0; text-align: left; vertical-align: top; border-top: 1px solid var(--line); }
th { color: var(--soft); font-weight: 500; border-top: 0; }
.shares { width: auto; margin-top: 12px; }
.shares tr:first-child td { border-top: 0; }
.right { text-align: right; font-variant-numeric: tabular-nums; padding-left: 24px; }
.name { overflow-wrap: anywhere; min-width: 160px; }
.failures td:last-child { overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 12px; height: 12px; border-radius: 3px; margin-right: 8px; vertical-align: -1px;
  box-shadow: 0 0 0 1px rgba(128, 128, 128, .5); }
.gallery { display: grid; grid-template-columns: repeat(auto-fill, minmax(190px, 1fr)); gap: 18px; }
figure { margin: 0; min-width: 0; }
figure img, .none { display: block; width: 100%; aspect-ratio: 1; object-fit: contain; border-radius: 8px; background: #0b0d11; }
.none { display: grid; place-items: center; background: var(--ground); color: var(--soft); }
figure .bar { height: 6px; margin: 7px 0 5px; }
figcaption b { display: block; font-weight: 600; overflow: hidden; text-overflow: ellipsis; white-space: nowrap; }
figcaption span { color: var(--soft); font-size: 13px; }
.notice { margin: 4px 0 0; padding-left: 8px; border-left: 3px solid #d99a1c; font-size: 13px; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 4px 20px; margin: 0; }
dt { color: var(--soft); }
dd { margin: 0; overflow-wrap: anywhere; }
.classes { list-style: none; display: flex; flex-wrap: wrap; gap: 6px 20px; padding: 0; margin: 0 0 12px; }
details { margin-top: 16px; }
summary { cursor: pointer; color: var(--soft); }
footer { color: var(--soft); font-size: 13px; }
@media print { body { background: #fff; } section { break-inside: avoid; } }
"""
