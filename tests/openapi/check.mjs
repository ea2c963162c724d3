// Asks the GitHub simulator for everything that it offers, through a proxy that holds each request
// and each answer against GitHub's own OpenAPI description (from the package @octokit/openapi).
//
//   node check.mjs [path of the built example `simulator`]
//
// Ends with "N passed, M failed", and with exit code 1 when M is not 0.

import { spawn } from 'node:child_process'
import { createSign, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const here = dirname(fileURLToPath(import.meta.url))
const require = createRequire(import.meta.url)
const { positionals } = parseArgs({ allowPositionals: true })

const REPO = '/repos/{owner}/{repo}'
const SCOPES = [REPO, '/orgs/{org}']
const PATHS = [
  '/rate_limit', '/user', '/user/repos', '/users/{username}', '/users/{username}/repos',
  '/orgs/{org}', '/orgs/{org}/repos', REPO, `${REPO}/actions/runs`,
  `${REPO}/actions/runs/{run_id}/jobs`, `${REPO}/actions/jobs/{job_id}`,
  '/app', '/app/installations', '/app/installations/{installation_id}',
  '/app/installations/{installation_id}/access_tokens', '/installation/repositories',
  '/orgs/{org}/installation', '/users/{username}/installation', `${REPO}/installation`,
  ...SCOPES.flatMap((scope) => [
    `${scope}/actions/runners`, `${scope}/actions/runners/{runner_id}`,
    `${scope}/actions/runners/registration-token`, `${scope}/actions/runners/remove-token`,
    `${scope}/actions/runners/generate-jitconfig`,
  ]),
]

/** Collects results and prints the failures. */
class Report {
  passed = 0
  failed = 0

  add(name, violations) {
    if (violations.length === 0) {
      this.passed += 1
    } else {
      this.failed += 1
      console.error(`${name}:\n  ${violations.join('\n  ')}`)
    }
  }
}

/** Starts a program; `ready` picks from its lines of output until it has what it looks for. */
async function start(command, args, ready, env = {}) {
  const child = spawn(command, args, {
    stdio: ['pipe', 'pipe', 'inherit'], env: { ...process.env, ...env },
  })
  const seen = []
  const found = (async () => {
    for await (const line of createInterface({ input: child.stdout })) {
      seen.push(line)
      if (ready(line)) return
    }
    throw new Error(`${command} ended before it was ready:\n${seen.join('\n')}`)
  })()
  const failed = once(child, 'error').then(([error]) => { throw error })
  await Promise.race([found, failed])
  child.stdout.resume()
  return child
}

/** GitHub's description, cut to the paths that are used here: the whole takes a minute to load. */
async function description() {
  const file = require.resolve('@octokit/openapi/generated/api.github.com.json')
  const whole = JSON.parse(await readFile(file, 'utf8'))
  const paths = Object.fromEntries(PATHS.map((path) => {
    if (!whole.paths[path]) throw new Error(`GitHub's description has no path ${path}.`)
    return [path, whole.paths[path]]
  }))
  const cut = { ...whole, paths, webhooks: undefined, 'x-webhooks': undefined, components: {} }
  const copy = (part) => {
    for (const reference of JSON.stringify(part).matchAll(/"\$ref":"#\/components\/([^/"]+)\/([^"]+)"/g)) {
      const [, kind, name] = reference
      cut.components[kind] ??= {}
      if (cut.components[kind][name]) continue
      cut.components[kind][name] = whole.components[kind][name]
      copy(whole.components[kind][name])
    }
  }
  copy(paths)
  return cut
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address()
  server.close()
  await once(server, 'close')
  return port
}

/** The simulated app's key. */
const app = generateKeyPairSync('rsa', { modulusLength: 2048 })

/** A token that the app has signed itself. */
function signed() {
  const now = Math.floor(Date.now() / 1000)
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'RS256', typ: 'JWT' })}.${part({ iss: '7', iat: now - 60, exp: now + 540 })}`
  return `${text}.${createSign('RSA-SHA256').update(text).sign(app.privateKey, 'base64url')}`
}

async function main() {
  const settings = {}
  const program = positionals[0]
    ?? join(process.env.CARGO_TARGET_DIR ?? join(here, '../../target'), 'debug/examples/simulator')
  const folder = await mkdtemp(join(tmpdir(), 'openapi-'))
  const children = []
  const report = new Report()
  try {
    children.push(await start(program, [], (line) => {
      const [name, value] = line.split('=')
      settings[name] = value
      return name === 'GITHUB_TOKEN'
    }, { SIMULATOR_APP_PUBLIC_KEY: app.publicKey.export({ type: 'spki', format: 'pem' }) }))
    const spec = join(folder, 'github.json')
    await writeFile(spec, JSON.stringify(await description()))
    const port = await freePort()
    const prism = require.resolve('@stoplight/prism-cli')
    children.push(await start(process.execPath, [
      prism, 'proxy', '--errors', '--port', port, spec, settings.GITHUB_API_URL,
    ], (line) => line.includes('Prism is listening')))
    await checkAll(new Client(`http://127.0.0.1:${port}`, settings, report))
  } finally {
    for (const child of children) child.kill()
    await rm(folder, { recursive: true })
  }
  console.log(`${report.passed} passed, ${report.failed} failed`)
  process.exitCode = report.failed === 0 ? 0 : 1
}

/** Sends requests through the proxy, and reports what the proxy or the expectations object to. */
class Client {
  constructor(proxy, settings, report) {
    Object.assign(this, { proxy, settings, report })
  }

  /** `documented: false` is for statuses that GitHub sends and its description leaves out. */
  async ask(method, path, { status = 200, body, headers = {}, documented = true, ...more } = {}) {
    const { token = this.settings.GITHUB_TOKEN } = more
    const base = documented ? this.proxy : this.settings.GITHUB_API_URL
    const response = await fetch(base + path, {
      method,
      headers: {
        accept: 'application/vnd.github+json',
        authorization: `Bearer ${token}`,
        'user-agent': 'openapi-check',
        ...(body && { 'content-type': 'application/json' }),
        ...headers,
      },
      body: body && JSON.stringify(body),
    })
    const text = await response.text()
    const answer = text ? JSON.parse(text) : {}
    const violations = []
    if (String(answer.type).includes('stoplight.io/prism')) {
      violations.push(answer.title ?? answer.type)
      for (const { location, message, code } of answer.validation ?? []) {
        violations.push(`${(location ?? []).join('.')}: ${message} (${code})`)
      }
      if (!answer.validation) violations.push(JSON.stringify(answer))
    } else if (response.status !== status) {
      violations.push(`answered ${response.status} instead of ${status}: ${text.slice(0, 300)}`)
    }
    this.report.add(`${method} ${path}`, violations)
    return { answer, headers: response.headers }
  }

  /** Asks again with the answer's entity tag, which must be answered by 304. */
  async twice(path) {
    const first = await this.ask('GET', path)
    const tag = first.headers.get('etag')
    this.report.add(`entity tag of ${path}`, tag ? [] : ['there is none'])
    if (tag) await this.ask('GET', path, { status: 304, headers: { 'if-none-match': tag }, documented: documents304(path) })
    return first.answer
  }

  /** Follows the pages of a list, and checks that they are as many as the links say. */
  async pages(path) {
    let next = path
    let asked = 0
    let last
    while (next) {
      const { headers } = await this.ask('GET', next)
      asked += 1
      const links = headers.get('link') ?? ''
      const link = (relation) => links.match(new RegExp(`<([^>]+)>; rel="${relation}"`))?.[1]
      last ??= Number(new URL(link('last') ?? 'http://x/?page=1').searchParams.get('page'))
      next = link('next')?.replace(this.settings.GITHUB_API_URL, '')
    }
    this.report.add(`pages of ${path}`, asked === last ? [] : [`${asked} pages instead of ${last}`])
  }
}

/** GitHub answers conditional requests everywhere; its description says so in a few places only. */
function documents304(path) {
  return ['/user', '/user/repos'].includes(path.split('?')[0])
}

async function checkAll(github) {
  await github.ask('GET', '/rate_limit')
  await github.ask('GET', '/user', { status: 401, token: 'wrong' })
  for (const path of [
    '/user', '/users/octocat', '/users/hubot', '/users/acme', '/orgs/acme',
    '/user/repos', '/user/repos?affiliation=owner&sort=pushed&direction=desc&per_page=100',
    '/users/octocat/repos?sort=pushed&direction=desc', '/users/acme/repos',
    '/orgs/acme/repos?sort=pushed&direction=desc', '/orgs/acme/repos?type=private',
  ]) await github.twice(path)
  await github.ask('GET', '/users/nobody', { status: 404 })
  await github.ask('GET', '/orgs/octocat', { status: 404 })
  await github.ask('GET', '/repos/acme/nothing', { status: 404 })
  await github.pages('/user/repos?per_page=3')
  await github.pages('/orgs/acme/repos?per_page=1')

  const repos = await github.twice('/user/repos?per_page=100')
  // What breaks the description is reported where it is asked for, and comes here as an object.
  for (const { full_name: name } of Array.isArray(repos) ? repos : []) {
    await github.twice(`/repos/${name}`)
    if (name === 'acme/vault') {
      await github.ask('GET', `/repos/${name}/actions/runs`, { status: 403, documented: false })
    } else {
      await checkRuns(github, `/repos/${name}`)
    }
  }
  await checkApp(github)
  await checkRunners(github, '/repos/acme/api')
  await checkRunners(github, '/orgs/acme')
  await github.ask('POST', '/repos/acme/read-only/actions/runners/registration-token',
    { status: 403, documented: false })
}

async function checkApp(github) {
  const token = signed()
  await github.ask('GET', '/app', { token })
  await github.ask('GET', '/app', { status: 401, documented: false })
  // The description of the list wants accounts that are a user and an enterprise at once.
  const { answer: all } = await github.ask('GET', '/app/installations?per_page=100', { token, documented: false })
  for (const path of ['/orgs/acme', '/users/hubot', '/repos/acme/api']) {
    await github.ask('GET', `${path}/installation`, { token })
  }
  await github.ask('GET', '/repos/octocat/hello-world/installation', { status: 404, token })
  for (const { id, suspended_at: suspended } of Array.isArray(all) ? all : []) {
    await github.ask('GET', `/app/installations/${id}`, { token })
    const tokens = `/app/installations/${id}/access_tokens`
    const { answer } = await github.ask('POST', tokens, { status: suspended ? 403 : 201, body: {}, token })
    if (!suspended) await github.ask('GET', '/installation/repositories', { token: answer.token })
  }
}

async function checkRuns(github, repo) {
  for (const status of ['queued', 'in_progress', 'completed', 'waiting', 'pending', 'requested', 'failure']) {
    await github.ask('GET', `${repo}/actions/runs?status=${status}&per_page=100&exclude_pull_requests=true`)
  }
  await github.pages(`${repo}/actions/runs?per_page=1`)
  const { workflow_runs: runs = [] } = await github.twice(`${repo}/actions/runs`)
  for (const { id } of runs) {
    await github.pages(`${repo}/actions/runs/${id}/jobs?filter=all&per_page=5`)
    const { jobs = [] } = await github.twice(`${repo}/actions/runs/${id}/jobs?filter=latest&per_page=100`)
    for (const job of jobs) await github.twice(`${repo}/actions/jobs/${job.id}`)
  }
}

async function checkRunners(github, scope) {
  const runners = `${scope}/actions/runners`
  await github.ask('GET', runners)
  await github.ask('POST', `${runners}/registration-token`, { status: 201 })
  await github.ask('POST', `${runners}/remove-token`, { status: 201 })
  const config = (name) => ({
    name, runner_group_id: 1, labels: ['self-hosted', 'linux', 'docker'], work_folder: '_work',
  })
  const made = []
  for (const name of ['one', 'two', 'three']) {
    const body = config(name)
    const { answer } = await github.ask('POST', `${runners}/generate-jitconfig`, { status: 201, body })
    if (answer.runner) made.push(answer.runner.id)
  }
  await github.ask('POST', `${runners}/generate-jitconfig`, { status: 409, body: config('one') })
  await github.ask('POST', `${runners}/generate-jitconfig`,
    { status: 422, body: { ...config('four'), runner_group_id: 99 } })
  await github.twice(`${runners}?per_page=100`)
  await github.twice(`${runners}?name=two`)
  await github.pages(`${runners}?per_page=1`)
  for (const id of made) {
    await github.twice(`${runners}/${id}`)
    await github.ask('DELETE', `${runners}/${id}`, { status: 204 })
    await github.ask('GET', `${runners}/${id}`, { status: 404, documented: false })
  }
}

await main()
