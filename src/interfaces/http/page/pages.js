// A list that is read page by page, as far as somebody wants to see it.

// Longer lists are read again less often.
const PAUSE_PER_PAGE = 250;

export class Pages {
  #wanted = 1;
  #next = null;
  #read = 0;
  #rested = 0;

  constructor(mcp, tool) {
    this.call = (args) => mcp.callTool(tool, args);
    this.items = [];
    this.message = "";
  }

  get hasMore() {
    return this.#next !== null;
  }

  // Reads the pages that were read before again.
  async refresh() {
    if (this.#wanted > 2 && Date.now() < this.#rested) return;
    await this.#readOn(null, this.#wanted, []);
    this.#rested = Date.now() + PAUSE_PER_PAGE * this.#read;
  }

  // Reads `pages` further ones.
  async more(pages = 1) {
    this.#wanted += pages;
    await this.#readOn(this.#next, pages, this.items);
  }

  async all() {
    if (this.hasMore) await this.more(Infinity);
  }

  async #readOn(cursor, pages, before) {
    let items = before;
    let read = 0;
    do {
      const answer = await this.call({ limit: 200, ...(cursor && { cursor }) });
      this.message = answer.message;
      items = items.concat(answer.data);
      cursor = answer.next_cursor ?? null;
      read += 1;
    } while (cursor !== null && read < pages);
    this.items = items;
    this.#next = cursor;
    this.#read = before.length ? this.#read + read : read;
  }
}
