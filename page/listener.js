// The page's side of the worker: each job gets its answer, in order.

export class Listener {
  constructor(onHeard, onBroken) {
    this.worker = new Worker("worker.js");
    this.waiting = new Map();
    this.n_jobs = 0;
    this.worker.onmessage = ({ data }) => {
      if (data.kind === "heard") return onHeard(data);
      if (data.kind === "broken") return onBroken(data.message);
      const { resolve, reject } = this.waiting.get(data.id) ?? {};
      if (!resolve) return; // given up before
      this.waiting.delete(data.id);
      if (data.kind === "done") resolve(data.result);
      else reject(Object.assign(new Error(data.message), { gone: data.gone }));
    };
    this.worker.onerror = (event) => {
      const reason = event.message || "worker.js cannot be loaded";
      const waiting = [...this.waiting.values()];
      this.waiting.clear();
      for (const { reject } of waiting) reject(new Error(reason));
      if (!waiting.length) onBroken(reason);
    };
  }

  ask(job, details = {}, transfer = []) {
    return new Promise((resolve, reject) => {
      const id = this.n_jobs++;
      this.waiting.set(id, { resolve, reject });
      this.worker.postMessage({ job, id, ...details }, transfer);
    });
  }
}
