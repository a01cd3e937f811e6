import { EventEmitter } from 'eventemitter3';

/** A map of event names to their arguments. */
export type EventMap = Readonly<Record<string, readonly unknown[]>>;
type Listener<A extends readonly unknown[]> = (...args: A) => void;

/**
 * Typed events whose listeners cannot hurt the emitter: one that throws is reported and the others
 * are still called.
 */
export class SafeEmitter<M extends { [K in keyof M]: readonly unknown[] }> {
  private readonly emitter = new EventEmitter();
  private readonly wrapped = new WeakMap<object, Map<PropertyKey, (...args: unknown[]) => void>>();

  constructor(private readonly onListenerError: (event: string, thrown: unknown) => void) {}

  on<K extends keyof M & string>(event: K, listener: Listener<M[K]>): this {
    this.emitter.on(event, this.wrap(event, listener));
    return this;
  }
  once<K extends keyof M & string>(event: K, listener: Listener<M[K]>): this {
    this.emitter.once(event, this.wrap(event, listener));
    return this;
  }
  off<K extends keyof M & string>(event: K, listener: Listener<M[K]>): this {
    const wrapped = this.wrapped.get(listener)?.get(event);
    if (wrapped) this.emitter.off(event, wrapped);
    return this;
  }
  listenerCount(event: keyof M & string): number {
    return this.emitter.listenerCount(event);
  }
  emit<K extends keyof M & string>(event: K, ...args: M[K]): void {
    this.emitter.emit(event, ...args);
  }
  removeAll(): void {
    this.emitter.removeAllListeners();
  }

  private wrap<K extends keyof M & string>(event: K, listener: Listener<M[K]>): (...args: unknown[]) => void {
    const known = this.wrapped.get(listener) ?? new Map<PropertyKey, (...args: unknown[]) => void>();
    this.wrapped.set(listener, known);
    let wrapped = known.get(event);
    if (!wrapped) {
      wrapped = (...args) => {
        try {
          const result: unknown = listener(...(args as unknown as M[K]));
          if (result instanceof Promise) result.catch((thrown: unknown) => this.onListenerError(event, thrown));
        } catch (thrown) {
          this.onListenerError(event, thrown);
        }
      };
      known.set(event, wrapped);
    }
    return wrapped;
  }
}
