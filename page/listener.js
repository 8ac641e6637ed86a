// The page's side of the worker: each job gets its answer, in order.

export class Listener {
  constructor(onHeard) {
    this.worker = new Worker("worker.js");
    this.waiting = new Map();
    this.n_jobs = 0;
    this.worker.onmessage = ({ data }) => {
      if (data.kind === "heard") return onHeard(data);
      const { resolve, reject } = this.waiting.get(data.id);
      this.waiting.delete(data.id);
      if (data.kind === "done") resolve(data.result);
      else reject(new Error(data.message));
    };
    this.worker.onerror = (event) => {
      for (const { reject } of this.waiting.values()) reject(new Error(event.message || "worker.js cannot be loaded"));
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
