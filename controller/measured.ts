/**
 * A map that knows how much text is in it: what an agent says is kept up to a number of characters, whatever the number
 * of things it says it of.
 */
export class Measured<Value> extends Map<string, Value> {
  readonly #lengthOf: (value: Value) => number
  #length = 0

  constructor(lengthOf: (value: Value) => number) {
    super()
    this.#lengthOf = lengthOf
  }

  get length(): number {
    return this.#length
  }

  /** Its length if `value` were set. */
  lengthWith(key: string, value: Value): number {
    return this.#length + this.#lengthOf(value) - this.#held(key)
  }

  override set(key: string, value: Value): this {
    this.#length = this.lengthWith(key, value)
    return super.set(key, value)
  }

  override delete(key: string): boolean {
    this.#length -= this.#held(key)
    return super.delete(key)
  }

  override clear(): void {
    this.#length = 0
    super.clear()
  }

  #held(key: string): number {
    const value = this.get(key)
    return value === undefined ? 0 : this.#lengthOf(value)
  }
}
