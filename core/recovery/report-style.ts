/** The style sheet of an HTML report: black on white on paper (A4 and Letter, as the printer has it), light or dark on a screen. No `<` or `&`, so that it is the same in XML. */
export const reportStyle = `
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --faint: #595959; --line: #c8c8c8; --good: #12652f; --bad: #a31515; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e8e8e8; --paper: #16181b; --faint: #a8adb3; --line: #43474d; --good: #6fd08c; --bad: #ff9a91; }
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
main { max-width: 60rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 0.5rem; overflow-wrap: anywhere; }
h2 { font-size: 1.1rem; margin: 1.8rem 0 0.4rem; break-after: avoid; }
p { margin: 0.4rem 0; white-space: pre-wrap; overflow-wrap: anywhere; }
footer, .faint { color: var(--faint); }
.good { color: var(--good); font-weight: 600; }
.bad { color: var(--bad); font-weight: 600; }
table { width: 100%; border-collapse: collapse; margin-top: 0.4rem; font-variant-numeric: tabular-nums; }
thead { display: table-header-group; }
tr { break-inside: avoid; }
th, td { padding: 0.3rem 0.8rem 0.3rem 0; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; overflow-wrap: anywhere; }
td { white-space: pre-wrap; unicode-bidi: isolate; }
.facts th { width: 13rem; font-weight: 600; }
@page { margin: 16mm 14mm; }
@media print {
  :root { color-scheme: light; }
  body { font-size: 10pt; }
  main { max-width: none; padding: 0; }
}
`;
