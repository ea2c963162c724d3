// What `node --test` found, as a short table; what failed, at length.
export default async function* report(events) {
  const failures = [];
  let failed = 0;
  for await (const { type, data } of events) {
    if (type === "test:start" && data.nesting === 0) yield `${data.name}\n`;
    if (type === "test:diagnostic" && data.nesting > 0) yield `        ${data.message}\n`;
    if (type === "test:stderr") yield data.message;
    if (type !== "test:pass" && type !== "test:fail") continue;
    if (type === "test:fail") {
      failed += 1;
      const { cause } = data.details.error;
      failures.push(`\n${data.name}: ${cause?.stack ?? cause ?? data.details.error.message}\n`);
    }
    if (data.details.type === "suite") continue;
    const seconds = (data.details.duration_ms / 1000).toFixed(1).padStart(5);
    yield `  ${type === "test:fail" ? "FAIL" : "ok  "} ${seconds} s  ${data.name}\n`;
  }
  yield* failures;
  yield failed ? `\n${failed} failed\n` : "";
}
