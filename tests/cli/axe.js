// Opens a page in Chromium at three sizes, light and dark, and prints what axe-core finds wrong.
//   NODE_PATH=node_modules node axe.js PAGE.html CHROMIUM [SCREENSHOT_FOLDER]
const fs = require("fs");
const puppeteer = require("puppeteer-core");
const axe = fs.readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

const SIZES = [[1280, 900], [1920, 1080], [390, 844]];

(async () => {
  const [page, chromium, folder] = process.argv.slice(2);
  const args = ["--no-sandbox", "--disable-gpu"];
  const browser = await puppeteer.launch({ executablePath: chromium, args });
  const found = [];
  for (const [width, height] of SIZES)
    for (const scheme of ["light", "dark"]) {
      const tab = await browser.newPage();
      await tab.setViewport({ width, height });
      await tab.emulateMediaFeatures([{ name: "prefers-color-scheme", value: scheme }]);
      await tab.goto("file://" + page);
      if (folder) await tab.screenshot({ path: `${folder}/${width}-${scheme}.png` });
      await tab.evaluate(axe);
      const { violations } = await tab.evaluate(() => axe.run());
      for (const { id, nodes } of violations)
        found.push({ width, scheme, id, html: nodes[0].html.slice(0, 200) });
      const wide = await tab.evaluate(() => document.documentElement.scrollWidth > innerWidth);
      if (wide) found.push({ width, scheme, id: "wider than the window" });
      await tab.close();
    }
  await browser.close();
  console.log(JSON.stringify(found));
})();
