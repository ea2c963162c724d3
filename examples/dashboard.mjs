// The figures of a dashboard over HTTP, with nothing but `fetch`. In Node:
//
//   ipfs-accelerate runner start --http
//   RUNNER_KIT_HTTP_TOKEN=$(cat ~/.local/state/ipfs-accelerate/http-token-read) node examples/dashboard.mjs
//
// In a page of the same origin: `import { Client, monitor } from './dashboard.mjs'`.

const PROTOCOL = '2026-07-28'

export class Client {
  #id = 0

  constructor({ url = 'http://127.0.0.1:8080', token }) {
    this.url = new URL('/mcp', url)
    this.token = token
  }

  // Calls a tool; its `{success, data, message, …}`. A failure is thrown, with `code` and `remedy`.
  async call_tool(name, args = {}, signal = undefined) {
    const response = await fetch(this.url, {
      method: 'POST',
      signal,
      headers: {
        authorization: `Bearer ${this.token}`,
        'content-type': 'application/json',
        accept: 'application/json, text/event-stream',
        // The stateless form of the protocol: each request says what it is.
        'mcp-protocol-version': PROTOCOL,
        'mcp-method': 'tools/call',
        'mcp-name': name,
      },
      body: JSON.stringify({
        jsonrpc: '2.0',
        id: ++this.#id,
        method: 'tools/call',
        params: {
          name,
          arguments: args,
          _meta: {
            'io.modelcontextprotocol/protocolVersion': PROTOCOL,
            'io.modelcontextprotocol/clientCapabilities': {},
          },
        },
      }),
    })
    const text = await response.text()
    let answer
    try {
      answer = JSON.parse(text)
    } catch {
      throw new Error(`HTTP ${response.status}: ${text.slice(0, 200)}`)
    }
    // A missing token is refused before anything else looks at the request.
    const failure = answer.result?.structuredContent?.error ?? answer.error
    if (failure) throw Object.assign(new Error(failure.message), failure)
    return answer.result.structuredContent
  }
}

// Shows the figures now and every `seconds`, until `signal` is aborted.
export async function monitor(client, show, { seconds = 30, signal } = {}) {
  while (!signal?.aborted) {
    try {
      const [status, workflows] = await Promise.all([
        client.call_tool('runner_get_status', {}, signal),
        client.call_tool('runner_list_workflows', {}, signal),
      ])
      show({ status: status.data, workflows: workflows.data })
    } catch (error) {
      if (signal?.aborted) return
      show({ error })
    }
    await new Promise((resolve) => {
      const timer = setTimeout(resolve, seconds * 1000)
      signal?.addEventListener('abort', () => (clearTimeout(timer), resolve()), { once: true })
    })
  }
}

// Texts come from repositories' owners: `textContent` shows them and never runs them.
export function render({ status, workflows, error }) {
  const set = (id, text) => (document.getElementById(id).textContent = text)
  set('error', error ? `${error.message} ${error.remedy ?? ''}` : '')
  if (error) return
  set('active-runners', status.active_runners)
  set('queued-workflows', status.queued_workflows)
  const rows = workflows.map((queue) => {
    const row = document.createElement('tr')
    for (const text of [queue.repo, queue.running, queue.pending, queue.failed]) {
      row.insertCell().textContent = text
    }
    return row
  })
  document.getElementById('workflows').replaceChildren(...rows)
}

if (typeof process !== 'undefined' && import.meta.filename === process.argv[1]) {
  const client = new Client({
    url: process.env.RUNNER_KIT_URL,
    token: process.env.RUNNER_KIT_HTTP_TOKEN,
  })
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const show = ({ status, workflows, error }) => {
    if (error) return console.error(`${error.message} ${error.remedy ?? ''}`)
    console.log(`${status.active_runners} runners, ${status.queued_workflows} workflows wait`)
    for (const { repo, running, pending } of workflows) {
      console.log(`  ${repo}: ${running} running, ${pending} pending`)
    }
  }
  await monitor(client, show, { signal: stop.signal })
}
