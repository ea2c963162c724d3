// Makes docs/dashboard.png: the dashboard on a busy morning. `node tests/browser/picture.mjs`

import { fileURLToPath } from "node:url";
import { browser, open, stage, until } from "./stage.mjs";

const DOCS = fileURLToPath(new URL("../../docs/dashboard.png", import.meta.url));
const MOST = 8;

// A working day in samples: nights are quiet, and work comes in waves.
function day() {
  const now = Math.floor(Date.now() / 1_000);
  const minutes = 24 * 60 - 2;
  return Array.from({ length: minutes }, (_, minute) => {
    const wave = Math.sin(minute / 47) + 0.7 * Math.sin(minute / 19 + 1) + 0.4 * Math.sin(minute / 7);
    const wanted = Math.max(0, Math.round(5 + 5 * wave));
    const active = Math.min(MOST, wanted + 1);
    return [now - (minutes - minute) * 60, Math.max(0, wanted - MOST), active, Math.min(active, wanted), MOST, 5_000 - (minute % 60) * 24];
  });
}

const set = await stage("picture", { maxRunners: MOST, samples: day(), more: { RUNNER_KIT_CPU_LIMIT: "1" } });
const chrome = await browser();
try {
  const { github } = set;
  await github.wish({ repos: ["acme/api", "acme/web", "acme/models", "acme/infra", "acme/docs"] });
  await github.wish({ runs: [
    { repo: "acme/docs", workflow: "site", job: "publish", seconds: 0.5 },
    { repo: "acme/api", workflow: "ci", job: "test", legs: 6, seconds: 900 },
    { repo: "acme/web", workflow: "deploy", job: "build and push the image", seconds: 900 },
    { repo: "acme/web", workflow: "ci", job: "end-to-end", legs: 4, seconds: 900 },
    { repo: "acme/models", workflow: "train", job: "fit", labels: ["self-hosted", "gpu"] },
    { repo: "acme/infra", workflow: "plan", job: "terraform plan", seconds: 900 },
  ] });
  const page = await open(chrome, { viewport: { width: 1440, height: 1080 }, colorScheme: "dark" });
  await page.goto(await set.link());
  await set.command("runner start --background");
  await page.locator("#runners-table .busy").nth(MOST - 1).waitFor();
  await page.getByRole("button", { name: "acme/web", exact: true }).click();
  await page.getByRole("button", { name: "acme/models", exact: true }).click();
  await until("everything is measured", async () =>
    (await page.locator("#runners-table td", { hasText: /^[\d.]+ [KMG]B$/ }).count()) === MOST);
  await page.screenshot({ path: DOCS });
} finally {
  await chrome.close();
  await set.end();
}
