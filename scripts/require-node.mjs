// Plain JavaScript that old versions of Node can read too: every npm script runs this first, so that an unsuitable Node
// ends in one line with the cure and not in a syntax error. `npm ci` puts Node 24 into node_modules/.bin, before all others.

const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
const suitable = major >= 24 || (major === 22 && minor >= 18);

if (!suitable) {
  console.error(
    `Farshore needs Node 22.18 or later, 24 or 26, and this is ${process.versions.node}: run "npm ci" and use "npm run", which brings Node 24, or install one from https://nodejs.org.`,
  );
  process.exit(1);
}
