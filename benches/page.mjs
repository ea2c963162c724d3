// How long people wait for the dashboard; see `benches/page`.

import { size } from "../tests/browser/size.mjs";
import { browser, crowded, findAll, open, stage, until } from "../tests/browser/stage.mjs";

const RUNS = 9;
const UPDATES = 15;
const median = (values) => values.sort((a, b) => a - b)[Math.floor(values.length / 2)];
const milliseconds = (values) => `median ${median(values).toFixed(0)} ms, most ${values.at(-1).toFixed(0)} ms, of ${values.length}`;

const set = await stage("bench-page", { maxRunners: 3 });
const chrome = await browser();
try {
  await set.github.wish({ repos: ["acme/api", "acme/web"] });
  await set.github.wish({ runs: [{ repo: "acme/api", workflow: "ci", job: "test", legs: 40, seconds: 3_600 }] });
  await set.command("runner start --background");

  const first = [];
  for (let run = 0; run < RUNS; run++) {
    // A new context each time: nothing is cached.
    const page = await open(chrome);
    const link = await set.link();
    const begin = performance.now();
    await page.goto(link, { waitUntil: "commit" });
    await page.locator("#runners-table .busy").first().waitFor();
    first.push(performance.now() - begin);
    await page.context().close();
  }

  const page = await open(chrome);
  await page.goto(await set.link());
  await page.locator("#connection[data-state=live]").waitFor();
  // Each event that comes to be seen, with the time at which that was.
  await page.evaluate(() => {
    globalThis.seen = [];
    new MutationObserver((changes) => {
      const now = Date.now();
      for (const { addedNodes } of changes) {
        for (const node of addedNodes) {
          const when = node.querySelector?.("time")?.getAttribute("datetime");
          if (when) globalThis.seen.push(now - Date.parse(when));
        }
      }
    }).observe(document.getElementById("events-list"), { childList: true });
  });
  const updates = [];
  for (let update = 0; update < UPDATES; update++) {
    await page.evaluate(() => { globalThis.seen.length = 0; });
    const [{ container_id: id }] = JSON.parse(await set.command("runner list-containers"));
    await set.command(`runner stop-container --container ${id} --force`);
    const seen = () => page.evaluate(() => [...globalThis.seen]);
    updates.push((await until("the event is seen", async () => (await seen()).length > 0 && seen()))[0]);
    // The next one comes when all is quiet again.
    await page.locator("#runners-table .busy").nth(2).waitFor();
  }
  // The longest time for which the page answers nobody, while large lists are read again and again.
  const crowd = await open(chrome);
  await crowded(crowd, 1_000, 500);
  await crowd.goto(await set.link());
  await findAll(crowd, 1_000, 500);
  const stills = await crowd.evaluate(() => new Promise((resolve) => {
    const all = [0];
    new PerformanceObserver((list) => all.push(...list.getEntries().map(({ duration }) => duration)))
      .observe({ entryTypes: ["longtask"] });
    setTimeout(() => resolve(all), 5_000);
  }));
  console.log(`size, compressed:            ${(size() / 1_024).toFixed(1)} KB`);
  console.log(`navigation to runners shown: ${milliseconds(first)}`);
  console.log(`event to screen:             ${milliseconds(updates)}`);
  console.log(`a crowd, page stands still:  ${milliseconds(stills)}`);
} finally {
  await chrome.close();
  await set.end();
}
