// One linear memory for weights, activations and the cache, and the kernels that work on it.

import { plainKernels } from "./kernels/kernels.js";

const PAGE = 65536;
const ALIGN = 64;

/** Addresses handed out one after another, never taken back: the cache keeps a pool of its own. */
export class Memory {
  /** `module`: the compiled kernels, or null for plain JavaScript. `bytes`: all that will be asked for.

  Memory that is never written takes room only on paper: systems hand out pages when touched. */
  constructor(module, bytes) {
    if (module) {
      const memory = new WebAssembly.Memory({ initial: Math.ceil(bytes / PAGE) + 2 });
      this.kernels = new WebAssembly.Instance(module, { env: { memory } }).exports;
      this.buffer = memory.buffer;
      this.top = this.kernels.__heap_base.value;
    } else {
      this.buffer = new ArrayBuffer(Math.ceil(bytes / PAGE + 1) * PAGE);
      this.kernels = plainKernels(this.buffer);
      this.top = ALIGN;
    }
    this.impl = module ? "wasm" : "javascript";
    this.f32 = new Float32Array(this.buffer);
    this.i32 = new Int32Array(this.buffer);
    this.u32 = new Uint32Array(this.buffer);
  }

  /** The address of `count` fresh floats or integers of 32 bits. */
  take(count) {
    const at = Math.ceil(this.top / ALIGN) * ALIGN;
    this.top = at + 4 * count;
    if (this.top > this.buffer.byteLength)
      throw new RangeError("the memory is smaller than what is asked of it");
    return at;
  }

  floats(at, count) {
    return this.f32.subarray(at >> 2, (at >> 2) + count);
  }
}

/** What `take` of these sizes needs together, in bytes. */
export function room(counts) {
  return counts.reduce((sum, n) => sum + Math.ceil((4 * n) / ALIGN) * ALIGN + ALIGN, 0);
}

/** The compiled kernels, or null where this browser has no WebAssembly or no SIMD. */
export async function compile(response) {
  try {
    return await WebAssembly.compile(await (await response).arrayBuffer());
  } catch {
    return null;
  }
}
