// The figures of a dashboard, with the SDK for JavaScript. In Node, beside a running server of the same user:
//
//   ipfs-accelerate runner start --http
//   node examples/dashboard.mjs
//
// In a page of your own: `import { monitor, render } from './dashboard.mjs'`, with the SDK beside it.

import MCP from '../sdk-js/src/index.mjs'

// Shows the figures now and whenever they change, until `signal` is aborted.
export function monitor(mcp, show, { signal } = {}) {
  const look = async () => {
    try {
      const [status, workflows] = await Promise.all([
        mcp.call_tool('runner_get_status', {}, { signal }),
        mcp.call_tool('runner_list_workflows', {}, { signal }),
      ])
      show({ status: status.data, workflows: workflows.data })
    } catch (error) {
      if (!signal?.aborted) show({ error })
    }
  }
  const onState = (state, reason) => state === 'reconnecting' && show({ error: reason ?? new Error('The server stops.') })
  return mcp.subscribe(['runner://status'], look, { signal, onState })
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
  const mcp = new MCP({ url: process.env.RUNNER_KIT_URL })
  const stop = new AbortController()
  process.once('SIGINT', () => stop.abort())
  const show = ({ status, workflows, error }) => {
    if (error) return console.error(`${error.message} ${error.remedy ?? ''}`)
    console.log(`${status.active_runners} runners, ${status.queued_workflows} workflows wait`)
    for (const { repo, running, pending } of workflows) {
      console.log(`  ${repo}: ${running} running, ${pending} pending`)
    }
  }
  await monitor(mcp, show, { signal: stop.signal })
}
