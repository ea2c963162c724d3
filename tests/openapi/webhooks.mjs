// Holds webhooks against what GitHub itself publishes:
// - what the simulator sends, against GitHub's OpenAPI description (@octokit/openapi) and its own
//   check of signatures (@octokit/webhooks-methods);
// - what the program understands of GitHub's example payloads (@octokit/webhooks-examples, of today,
//   of Enterprise Server and of 2021), signed by @octokit/webhooks-methods.
//
//   node webhooks.mjs [directory of the built program]
//
// Ends with "N passed, M failed", and with exit code 1 when M is not 0.

import { spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { sign, verify } from '@octokit/webhooks-methods'
import Ajv from 'ajv'
import formats from 'ajv-formats'

const here = dirname(fileURLToPath(import.meta.url))
const require = createRequire(import.meta.url)
const built = process.argv[2] ?? join(process.env.CARGO_TARGET_DIR ?? join(here, '../../target'), 'debug')
const SECRET = "It's a Secret to Everybody"
const PATIENCE = 30_000

let passed = 0
let failed = 0
function check(name, violations) {
  if (violations.length === 0) {
    passed += 1
  } else {
    failed += 1
    console.error(`${name}:\n  ${violations.join('\n  ')}`)
  }
}

/** What differs between `found` and what is `expected` of it. */
function differences(found, expected) {
  return Object.entries(expected).flatMap(([key, value]) => {
    const [is, should] = [found?.[key], value].map((one) => JSON.stringify(one))
    return is === should ? [] : [`${key} is ${is} instead of ${should}`]
  })
}

/** OpenAPI 3.0 says `nullable` where JSON schema has a type of its own. */
function jsonSchema(part) {
  if (Array.isArray(part)) return part.map(jsonSchema)
  if (part === null || typeof part !== 'object') return part
  const { nullable, ...rest } = part
  const plain = Object.fromEntries(Object.entries(rest).map(([key, value]) => [key, jsonSchema(value)]))
  return nullable === true ? { anyOf: [plain, { type: 'null' }] } : plain
}

async function validators(events) {
  const file = require.resolve('@octokit/openapi/generated/api.github.com.json')
  const { components, 'x-webhooks': hooks } = JSON.parse(await readFile(file, 'utf8'))
  const ajv = formats(new Ajv({ strict: false, allErrors: true }))
  ajv.addSchema({ $id: 'github', components: { schemas: jsonSchema(components.schemas) } })
  return Object.fromEntries(events.map((event) => {
    const { schema } = hooks[event].post.requestBody.content['application/json']
    return [event, ajv.compile({ $ref: `github${schema.$ref}` })]
  }))
}

function start(program, args, env) {
  return spawn(join(built, program), args, { stdio: ['pipe', 'pipe', 'pipe'], env: { PATH: process.env.PATH, ...env } })
}

/** Everything that the simulator of `examples/simulator.rs` tells of its small world. */
async function checkSimulator() {
  const valid = await validators([
    'ping', 'workflow-job-queued', 'workflow-job-waiting', 'workflow-job-in-progress', 'workflow-job-completed',
  ])
  const missing = new Set(Object.keys(valid))
  let done
  const complete = new Promise((resolve) => { done = resolve })
  const receiver = createServer(async (request, response) => {
    const body = (await request.toArray()).join('')
    const payload = JSON.parse(body)
    const { 'x-github-event': event, 'x-hub-signature-256': signature, 'x-github-delivery': id } = request.headers
    const name = event === 'ping' ? event : `workflow-job-${payload.action.replace('_', '-')}`
    const violations = []
    if (!await verify(SECRET, body, signature)) violations.push(`the signature ${signature} is wrong`)
    if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id)) violations.push(`${id} is no UUID`)
    if (!valid[name]) violations.push('GitHub has no such event')
    else if (!valid[name](payload)) violations.push(...valid[name].errors.map((one) => `${one.instancePath} ${one.message}`))
    check(`the simulator's ${name}`, violations)
    missing.delete(name)
    response.writeHead(202).end()
    if (missing.size === 0) done()
  }).listen(0, '127.0.0.1')
  await once(receiver, 'listening')
  const simulator = start('examples/simulator', [], {
    SIMULATOR_WEBHOOK_URL: `http://127.0.0.1:${receiver.address().port}/`,
    SIMULATOR_WEBHOOK_SECRET: SECRET,
  })
  const timer = setTimeout(done, PATIENCE)
  await complete
  clearTimeout(timer)
  simulator.kill()
  receiver.closeAllConnections()
  receiver.close()
  check('the simulator tells everything', [...missing].map((name) => `there was no ${name}`))
}

/** What the program should understand of an example, whose times are `shifted` to now or not. */
function expected({ action, workflow_job: job, repository }, shifted) {
  const state = { queued: job.status === 'waiting' ? 'waiting' : 'queued', started: 'in progress', in_progress: 'in progress' }[action] ?? action
  if (!shifted && ['queued', 'waiting'].includes(action)) return { outcome: 'ignored' }
  return {
    outcome: 'heard',
    job: job.id,
    repo: repository.full_name,
    state,
    labels: job.labels.map((label) => label.toLowerCase()).sort(),
    ...(state === 'in progress' && { runner: job.runner_name }),
  }
}

async function checkProgram() {
  const home = await mkdtemp(join(tmpdir(), 'webhooks-'))
  const program = start('ipfs-accelerate', ['runner', 'start', '--keep-trying', '--http', '127.0.0.1:0'], {
    HOME: home,
    XDG_STATE_HOME: join(home, 'state'),
    XDG_RUNTIME_DIR: join(home, 'run'),
    RUNNER_KIT_INSTANCE: 'webhook-examples',
    RUNNER_KIT_WEBHOOK_SECRET: SECRET,
    // Neither answers: webhooks must be taken all the same.
    DOCKER_HOST: `unix://${home}/docker.sock`,
    GITHUB_API_URL: 'http://127.0.0.1:9/api/v3',
    GITHUB_SERVER_URL: 'http://127.0.0.1:9',
    GITHUB_TOKEN: 'none',
  })
  try {
    let address
    for await (const line of createInterface({ input: program.stderr })) {
      address = line.match(/^Serving MCP at (http:\S+)\/mcp/)?.[1]
      if (address) break
    }
    if (!address) throw new Error('the program did not start')
    const deliver = async (event, body, signature) => {
      const response = await fetch(`${address}/webhooks/github`, {
        method: 'POST',
        headers: {
          'content-type': 'application/json',
          'user-agent': 'GitHub-Hookshot/51',
          'x-github-event': event,
          'x-github-delivery': randomUUID(),
          'x-hub-signature-256': signature ?? await sign(SECRET, body),
        },
        body,
      })
      return { status: response.status, ...(await response.json()) }
    }
    const packages = {
      today: '@octokit/webhooks-examples',
      'Enterprise Server 3.3': '@octokit/webhooks-examples/ghes-33/index.json',
      'Enterprise Server 3.5': '@octokit/webhooks-examples/ghes-35/index.json',
      2021: 'webhooks-examples-2021/api.github.com/index.json',
    }
    const seen = new Set()
    for (const [age, name] of Object.entries(packages)) {
      for (const { name: event, examples } of require(name)) {
        for (const [place, example] of examples.entries()) {
          const title = `GitHub's example ${event} ${place} of ${age}`
          const answer = await deliver(event, JSON.stringify(example))
          if (event !== 'workflow_job') {
            const outcome = event === 'ping' ? 'ping' : 'ignored'
            check(title, differences({ status: answer.status, ...answer.data }, { status: 200, outcome }))
            continue
          }
          check(title, differences(answer.data, expected(example, false)))
          const { workflow_job: job } = example
          for (const time of ['created_at', 'started_at']) {
            if (job[time]) job[time] = new Date().toISOString()
          }
          const fresh = await deliver(event, JSON.stringify(example))
          check(`${title}, now`, differences(fresh.data, expected(example, true)))
          seen.add(`${age} ${fresh.data?.state}`)
        }
      }
    }
    const wanted = ['waiting', 'in progress', 'completed'].map((state) => `today ${state}`)
    wanted.push('today queued', '2021 queued', '2021 in progress', 'Enterprise Server 3.5 in progress')
    check('there is an example of everything', wanted.filter((one) => !seen.has(one)).map((one) => `none: ${one}`))
    const body = '{"zen": ""}'
    const forged = await deliver('ping', body, await sign('another secret, as long', body))
    check('a forged delivery', differences(forged, { status: 401, success: false }))
  } finally {
    program.kill()
    await once(program, 'exit')
    await rm(home, { recursive: true })
  }
}

await checkSimulator()
await checkProgram()
console.log(`${passed} passed, ${failed} failed`)
process.exitCode = failed === 0 ? 0 : 1
