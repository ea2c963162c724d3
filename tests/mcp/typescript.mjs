// What the two generations of the TypeScript SDK have in common.

/** A transport of the SDK's own to the program in `world`. */
export async function connect(over, world, { StdioClientTransport, StreamableHTTPClientTransport }) {
  if (over === "stdio") return new StdioClientTransport(world.stdio);
  const { url, token } = await world.http();
  const requestInit = { headers: { authorization: `Bearer ${token}` } };
  return new StreamableHTTPClientTransport(new URL(url), { requestInit });
}

/** What usage.mjs does with a client, in the SDK's words. */
export function verbs(client) {
  return {
    tools: async () => (await client.listTools()).tools,
    call: (name, args) => client.callTool({ name, arguments: args }),
    refusal: (name) => client.callTool({ name, arguments: {} }).catch((error) => error.code),
    resources: async () => ({ ...(await client.listResources()), ...(await client.listResourceTemplates()) }),
    read: async (uri) => (await client.readResource({ uri })).contents,
    prompts: async () => (await client.listPrompts()).prompts,
    prompt: async (name, args) => (await client.getPrompt({ name, arguments: args })).messages,
    complete: async (ref, name, value) => {
      const { completion } = await client.complete({ ref, argument: { name, value } });
      return completion.values;
    },
    close: () => client.close(),
  };
}
