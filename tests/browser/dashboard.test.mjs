// The dashboard as people use it: the real program, a simulated GitHub, the real Docker engine.

import assert from "node:assert/strict";
import { mkdir, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { browser, crowded, findAll, open, SHOTS, stage, until } from "./stage.mjs";

const HOSTILE = `<img src=x onerror="document.title='owned'"><script>document.title='owned'</script>`;
const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

// A busy day, as the samples of a service that ran through it.
function day() {
  const now = Math.floor(Date.now() / 1_000);
  return Array.from({ length: 24 * 60 - 2 }, (_, minute) => {
    const at = now - (24 * 60 - 2 - minute) * 60;
    const tide = Math.max(0, Math.sin(minute / 55) + 0.6 * Math.sin(minute / 17) + 0.3 * Math.sin(minute / 5));
    const wanted = Math.round(tide * 5);
    return [at, Math.max(0, wanted - 3), Math.min(3, wanted), Math.min(3, Math.round(wanted * 0.8)), 3, 5_000 - (minute % 60) * 21];
  });
}

// What is serious, by the rules of axe, on the page as it is now.
async function complaints(page) {
  // The page's own policy lets nobody add a script; a debugger may.
  await page.evaluate(AXE);
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  return violations.filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target).join(", ")}`);
}

const text = (page, selector) => page.locator(selector).textContent();
const live = (page) => page.locator("#connection[data-state=live]").waitFor();

describe("the dashboard", { timeout: 85_000 }, () => {
  let set;
  let chrome;
  let page;

  // What was to be seen when it failed is kept.
  const step = (name, work) => test(name, async () => {
    try {
      await work();
    } catch (error) {
      await page?.screenshot({ path: join(SHOTS, "failure.png"), fullPage: true }).catch(() => {});
      throw error;
    }
  });

  before(async () => {
    await mkdir(SHOTS, { recursive: true });
    [set, chrome] = await Promise.all([stage("browser", { samples: day() }), browser()]);
    await set.github.wish({ repos: ["acme/api", "acme/web", "octo/models", "octo/site"] });
    page = await open(chrome);
  });

  after(async () => {
    await chrome?.close();
    await set?.end();
  });

  step("who is not signed in is told how, and a bad link why not", async () => {
    await page.goto(set.url);
    await page.getByText("ipfs-accelerate mcp link --format text").waitFor();
    assert.equal(await page.locator("#board").isVisible(), false);
    await page.goto(`${set.url}#code=never-was-one`);
    assert.match(await page.locator("#why strong").textContent(), /used before or is older/);
    assert.equal(new URL(page.url()).hash, "");
    assert.deepEqual(await complaints(page), []);
  });

  step("the link signs in, and what is typed wrong is told at its field", async () => {
    await page.goto(await set.link());
    await live(page);
    assert.equal(await text(page, "#state-word"), "Stopped");
    await page.getByRole("button", { name: "Start…" }).click();
    await page.getByLabel("Most runners").fill("5000");
    await page.getByRole("button", { name: "Start", exact: true }).click();
    await page.locator("#max_runners-error").waitFor();
    assert.match(await text(page, "#max_runners-error"), /max_runners.*1000/s);
    assert.equal(await page.getByLabel("Most runners").getAttribute("aria-invalid"), "true");
    assert.deepEqual(await complaints(page), []);
  });

  step("the autoscaler is started, and jobs are seen to arrive and finish", async () => {
    await page.getByLabel("Most runners").fill("3");
    await page.getByRole("button", { name: "Start", exact: true }).click();
    await page.locator("#state[data-state=running]").waitFor();
    await set.github.wish({ runs: [
      { repo: "acme/api", workflow: "ci", job: "test", legs: 2, seconds: 1 },
      { repo: "octo/models", workflow: "train", job: "fit", labels: ["self-hosted", "gpu"] },
    ] });
    await page.locator("#runners-table").getByRole("link", { name: "test (1)" }).waitFor();
    await page.locator("#queue-table").getByText("+1 stuck").waitFor();
    await page.locator("#runners-table tr").first().waitFor({ state: "detached" });
    await page.locator("#events-list").getByText("removed: it has finished").first().waitFor();
    assert.equal((await set.github.wish({ jobs: null })).completed, 2);
    const job = page.getByRole("button", { name: "octo/models", exact: true });
    await job.click();
    assert.equal(await job.getAttribute("aria-expanded"), "true");
    await page.getByText("no runner here has the label gpu").or(page.getByText("no runner here has the labels gpu")).first().waitFor();
  });

  step("names that strangers chose are shown, and do nothing", async () => {
    await set.github.wish({ runs: [
      { repo: "acme/web", workflow: HOSTILE, job: HOSTILE, seconds: 600 },
    ] });
    await page.locator("#runners-table").getByText("<img src=x onerror").waitFor();
    // More than there is room for.
    await set.github.wish({ runs: [
      { repo: "acme/api", workflow: "ci", job: "build and test the whole thing", legs: 4, seconds: 600 },
    ] });
    await page.getByRole("button", { name: "acme/web", exact: true }).click();
    await page.locator("#queue-table .jobs").getByText("<img src=x onerror").waitFor();
    assert.equal(await page.locator("main img, main script, #log img").count(), 0);
    assert.notEqual(await page.title(), "owned");
    await page.locator("#runners-table .busy").nth(2).waitFor();
    await until("the longest wait and its reason are shown", async () =>
      /waits?.*max_runners is 3/s.test(await text(page, "#message")));
  });

  step("a log is read while it is written, and shows a hostile name as it is", async () => {
    const row = page.locator("#runners-table tr", { hasText: "<img src=x" });
    await row.getByRole("button", { name: /^Log of/ }).click();
    await page.locator("#log-text").getByText("Running job: <img src=x").waitFor();
    await page.locator("#log-state[data-state=live]").waitFor();
    assert.equal(await page.locator("#log-text *").count(), 0);
    assert.deepEqual(await complaints(page), []);
    await page.keyboard.press("Escape");
    await page.locator("#log").waitFor({ state: "hidden" });
    assert.match(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), /^Log of/);
  });

  step("processor and memory of a runner are measured", async () => {
    await page.locator("#runners-table td", { hasText: /^[\d.]+ [KMG]B$/ }).first().waitFor();
  });

  step("axe finds nothing serious, light or dark; the pictures are kept", async () => {
    for (const colorScheme of ["light", "dark"]) {
      await page.emulateMedia({ colorScheme });
      await until("the charts are drawn", async () => (await page.locator(".chart canvas").count()) === 3);
      assert.deepEqual(await complaints(page), [], colorScheme);
      await page.screenshot({ path: join(SHOTS, `desktop-${colorScheme}.png`), fullPage: true });
    }
    await page.setViewportSize({ width: 360, height: 780 });
    assert.deepEqual(await complaints(page), []);
    const wide = await page.evaluate(() => document.documentElement.scrollWidth);
    assert.ok(wide <= 360, `the page is ${wide} wide on a phone`);
    await page.screenshot({ path: join(SHOTS, "phone.png"), fullPage: true });
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize({ width: 1440, height: 1000 });
    await page.getByRole("button", { name: "Theme: auto" }).click();
    await page.getByRole("button", { name: "Theme: light" }).click();
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    assert.equal(await ground(), "rgb(13, 17, 23)");
  });

  step("a busy runner is stopped only by who says yes", async () => {
    const row = page.locator("#runners-table tr", { hasText: "<img src=x" });
    await row.getByRole("button", { name: /^Stop / }).click();
    await page.locator("#ask[open]").waitFor();
    assert.match(await text(page, "#ask-message"), /busy|job/);
    assert.deepEqual(await complaints(page), []);
    await page.getByRole("button", { name: "Cancel" }).click();
    await page.locator("#toast", { hasText: "Nothing was stopped" }).waitFor();
    assert.equal(await row.count(), 1);
    await row.getByRole("button", { name: /^Stop / }).click();
    await page.getByRole("button", { name: "Stop it" }).click();
    await page.locator("#toast", { hasText: "is stopped and removed" }).waitFor();
    await row.waitFor({ state: "detached" });
  });

  step("a server that ends is missed and found again, and nothing is lost meanwhile", async () => {
    await set.halt();
    await page.locator("#connection[data-state=reconnecting]").waitFor();
    // The service goes on, and the world too.
    await set.github.wish({ runs: [{ repo: "octo/site", workflow: "later", job: "meanwhile", seconds: 600 }] });
    await until("the service sees it", async () => (await set.command("runner list-workflows")).includes("octo/site"));
    await set.serve();
    await live(page);
    await page.getByRole("button", { name: "octo/site", exact: true }).waitFor();
  });

  step("where streams fail it is asked now and then", async () => {
    await page.route("**/mcp", (route) =>
      route.request().postData().includes("subscriptions/listen") ? route.abort() : route.continue());
    await page.reload();
    await page.locator("#connection[data-state=polling]").waitFor();
    assert.equal(await text(page, "#state-word"), "Running");
    await page.unroute("**/mcp");
    await live(page);
  });

  step("a session that only looks has no buttons to act", async () => {
    const looking = await open(chrome);
    await looking.goto(await set.link("look"));
    await live(looking);
    await looking.locator("#runners-table tr").first().waitFor();
    for (const name of [/^Start/, /^Stop/, /^Provision/]) {
      assert.equal(await looking.getByRole("button", { name }).count(), 0, String(name));
    }
    await looking.getByText("Look only").waitFor();
    assert.deepEqual(looking.wrong, []);
    await looking.context().close();
  });

  step("a thousand repositories and five hundred runners are all found", async () => {
    const crowd = await open(chrome);
    await crowded(crowd, 1_000, 500);
    await crowd.goto(await set.link());
    await live(crowd);
    await crowd.locator("#queue-table tbody").first().waitFor();
    await findAll(crowd, 1_000, 500);
    assert.deepEqual(crowd.wrong, []);
    await crowd.context().close();
  });

  step("a session that ends says how to come back", async () => {
    const late = await open(chrome);
    await late.goto(await set.link());
    await live(late);
    await late.evaluate(() => sessionStorage.setItem("session", "operate.1.AAAA"));
    await late.locator("#why", { hasText: "ipfs-accelerate mcp link" }).waitFor();
    // Another link in the same tab, that allows less: nothing of the one before is left.
    await late.goto(await set.link("look"));
    await live(late);
    await late.locator("#runners-table tr").first().waitFor();
    assert.equal(await late.getByRole("button", { name: /^Stop/ }).count(), 0);
    await late.context().close();
  });

  step("the autoscaler is stopped, and a runner is provisioned by hand with its steps shown", async () => {
    await page.getByRole("button", { name: "Stop…" }).click();
    await page.getByRole("button", { name: "Stop the autoscaler" }).click();
    await page.locator("#state[data-state=stopped]").waitFor();
    // There is room again.
    const busy = page.locator("#runners-table tr", { hasText: "acme/api" }).first();
    await busy.getByRole("button", { name: /^Stop / }).click();
    await page.getByRole("button", { name: "Stop it" }).click();
    await page.locator("#toast", { hasText: "is stopped and removed" }).waitFor();
    await page.getByRole("button", { name: "Provision…" }).click();
    await page.locator("#provision-repo").fill("octo/site");
    await page.locator("#provision-go").click();
    await page.locator("#provision-done", { hasText: /1 runner launched/ }).waitFor();
    assert.ok((await page.locator("#provision-steps li").count()) >= 3);
    assert.deepEqual(await complaints(page), []);
    await page.getByRole("button", { name: "Close" }).click();
    await page.locator("#audit summary").click();
    await page.locator("#audit-table tr", { hasText: "provision_for_workflow" }).first().waitFor();
    await page.locator("#audit-table", { hasText: "dashboard" }).waitFor();
  });

  step("nothing went wrong in the page, and its policy was kept", () => {
    assert.deepEqual(page.wrong, []);
  });
});
