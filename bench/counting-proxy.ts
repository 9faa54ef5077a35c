import { createServer, request, type Server } from "node:http";

/** Passes HTTP on to a site and counts what goes through. */
export class CountingProxy {
  readonly #server: Server;
  readonly url: string;
  /** Requests since the last `reset`. */
  requests = 0;
  /** Those that carried a batch, and how many different batches that were. */
  batchPuts = 0;
  readonly #batches = new Set<string>();

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.url = `http://127.0.0.1:${port}`;
  }

  static async start(target: string): Promise<CountingProxy> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const address = server.address();
    if (address === null || typeof address === "string") throw new Error("no port");
    const proxy = new CountingProxy(server, address.port);
    server.on("request", (incoming, reply) => {
      proxy.#count(incoming.method ?? "", incoming.url ?? "");
      const outgoing = request(
        new URL(incoming.url ?? "/", target),
        { method: incoming.method ?? "GET", headers: incoming.headers },
        (answer) => {
          reply.writeHead(answer.statusCode ?? 502, answer.headers);
          answer.pipe(reply);
        },
      );
      outgoing.on("error", () => reply.destroy());
      incoming.pipe(outgoing);
    });
    return proxy;
  }

  close(): void {
    this.#server.closeAllConnections();
    this.#server.close();
  }

  get batches(): number {
    return this.#batches.size;
  }

  reset(): void {
    this.requests = 0;
    this.batchPuts = 0;
    this.#batches.clear();
  }

  #count(method: string, path: string): void {
    this.requests += 1;
    if (method !== "PUT" || !path.startsWith("/gateway/v1/batches/")) return;
    this.batchPuts += 1;
    this.#batches.add(path);
  }
}
