import { Worker } from "node:worker_threads";
import { Transient } from "#core/errors.ts";
import { workerUrl } from "./worker-url.ts";

/** Main thread to worker. */
export interface PoolTask<Task> {
  readonly id: number;
  readonly task: Task;
}

/** Worker to main thread. */
export interface PoolAnswer<Answer> {
  readonly id: number;
  readonly answer: Answer;
}

interface Waiting<Answer> {
  /** Place of the worker that has the task. */
  readonly worker: number;
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: Error) => void;
}

/** Worker threads that answer one message by one message; each task goes to the thread that has the fewest. */
export class WorkerPool<Task, Answer> {
  readonly #path: string;
  readonly #name: string;
  readonly #workers: Worker[];
  readonly #waiting = new Map<number, Waiting<Answer>>();
  #tasks = 0;
  #closed = false;

  /** `path` as `workerUrl` takes it; `name` is for whoever looks at the process's threads. */
  constructor(path: string, name: string, threads: number) {
    this.#path = path;
    this.#name = name;
    this.#workers = Array.from({ length: threads }, (_, place) => this.#start(place));
  }

  /** Rejects with `Transient` when the thread dies, and when the pool is closed first: what was transferred is gone then. */
  run(task: Task, transferred: ArrayBuffer[]): Promise<Answer> {
    const id = this.#tasks;
    this.#tasks += 1;
    const worker = this.#leastBusy();
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { worker, resolve, reject });
      const message: PoolTask<Task> = { id, task };
      this.#workers[worker]?.postMessage(message, transferred);
    });
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
    for (const waiting of this.#waiting.values()) waiting.reject(new Transient(`the ${this.#name} workers were ended`));
    this.#waiting.clear();
  }

  #leastBusy(): number {
    const tasks = this.#workers.map(() => 0);
    for (const { worker } of this.#waiting.values()) tasks[worker] = (tasks[worker] ?? 0) + 1;
    return tasks.indexOf(Math.min(...tasks));
  }

  #start(place: number): Worker {
    const worker = new Worker(workerUrl(this.#path), { name: this.#name });
    worker.on("message", ({ id, answer }: PoolAnswer<Answer>) => {
      this.#waiting.get(id)?.resolve(answer);
      this.#waiting.delete(id);
    });
    worker.on("error", (cause) => this.#died(place, cause));
    return worker;
  }

  /** Whoever asked tries again; nothing else that the process does is the thread's to lose. */
  #died(place: number, cause: unknown): void {
    const message = cause instanceof Error ? cause.message : String(cause);
    for (const [id, waiting] of this.#waiting) {
      if (waiting.worker !== place) continue;
      this.#waiting.delete(id);
      waiting.reject(new Transient(`a ${this.#name} worker died: ${message}`, {}, { cause }));
    }
    if (!this.#closed) this.#workers[place] = this.#start(place);
  }
}
