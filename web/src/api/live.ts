import type { Decision } from "./client";

// The live stream (GET /v1/stream): one connection a tab, shared by every page.
// Decisions are kept in memory, the newest first; findings, actions and
// approvals only say what is no longer fresh.

/** How many decisions a tab remembers. */
const kept = 2_000;
/** A page is told at most this often, whatever the traffic. */
const tellEvery = 500;
/** The server sends a heartbeat every 15 s; after this long in silence the connection is taken for dead. */
const silence = 40_000;
const bucketMs = 10_000;
const buckets = 30;

export type Connection = "connecting" | "live" | "reconnecting" | "offline";
export type Topic = "finding" | "action" | "approval";
export type PlaceCount = { allow: number; "step-up": number; deny: number };
export type Places = ReadonlyMap<string, PlaceCount>;

export type Snapshot = {
  connection: Connection;
  /** When the connection was lost, in ms; 0 while it stands. */
  lostAt: number;
  /** Decisions this tab was too slow for. */
  dropped: number;
  decisions: readonly Decision[];
  /** Calls of the last five minutes, by country. */
  places: Places;
};

const none: Snapshot = { connection: "connecting", lostAt: 0, dropped: 0, decisions: [], places: new Map() };

type Bucket = { start: number; places: Map<string, PlaceCount> };

const time = (d: Decision) => Date.parse(d.at);

/** merge joins two lists that are each the newest first. */
export function merge(a: readonly Decision[], b: readonly Decision[]): Decision[] {
  const all: Decision[] = [];
  let j = 0;
  for (const d of a) {
    for (let other = b[j]; other && time(other) > time(d); other = b[++j]) all.push(other);
    all.push(d);
  }
  return all.concat(b.slice(j));
}

export class Live {
  private snapshot = none;
  private source: EventSource | undefined;
  private pending: Decision[] = [];
  private fresh: Bucket[] = [];
  private listeners = new Set<() => void>();
  private tellTimer: number | undefined;
  private retryTimer: number | undefined;
  private watchdog: number | undefined;
  private attempts = 0;
  /** Called when a finding, an action or an approval changed. */
  onChange: (topic: Topic) => void = () => {};
  /** Called when the stream was refused, to learn whether the session has ended. */
  onRefused: () => void = () => {};
  /** Called when the stream stands again, to fill the gap. */
  onOpen: () => void = () => {};

  subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    return () => this.listeners.delete(listener);
  };

  read = () => this.snapshot;

  /** start connects; a second call does nothing. */
  start() {
    if (this.source || this.retryTimer !== undefined) return;
    window.addEventListener("online", this.now);
    this.connect();
  }

  stop() {
    window.removeEventListener("online", this.now);
    this.source?.close();
    this.source = undefined;
    clearTimeout(this.retryTimer);
    clearTimeout(this.watchdog);
    clearTimeout(this.tellTimer);
    this.retryTimer = this.watchdog = this.tellTimer = undefined;
  }

  /** add puts decisions read from the list beside those that came live. */
  add(older: readonly Decision[]) {
    const known = new Set(this.snapshot.decisions.map((d) => d.id));
    for (const d of this.pending) known.add(d.id);
    const more = older.filter((d) => !known.has(d.id));
    if (more.length === 0) return;
    for (const d of more) this.count(d);
    this.set({ decisions: merge(this.snapshot.decisions, more).slice(0, kept), places: this.sum() });
  }

  private now = () => {
    this.attempts = 0;
    clearTimeout(this.retryTimer);
    this.connect();
  };

  private connect() {
    this.retryTimer = undefined;
    this.source?.close();
    const source = new EventSource("/v1/stream?topics=decision,finding,action,approval");
    this.source = source;
    this.listenForSilence();
    source.addEventListener("hello", () => {
      this.attempts = 0;
      this.alive();
      this.set({ connection: "live", lostAt: 0 });
      this.onOpen();
    });
    source.addEventListener("decision", (e) => {
      this.alive();
      const d = JSON.parse(e.data) as Decision;
      this.pending.push(d);
      this.count(d);
      this.tellSoon();
    });
    source.addEventListener("dropped", (e) => {
      this.alive();
      this.set({ dropped: (JSON.parse(e.data) as { decisions: number }).decisions });
    });
    source.addEventListener("heartbeat", () => this.alive());
    for (const topic of ["finding", "action", "approval"] as const) {
      source.addEventListener(topic, () => {
        this.alive();
        this.onChange(topic);
      });
    }
    source.onerror = () => this.lost(source);
  }

  private lost(source: EventSource) {
    if (source !== this.source) return;
    // A refused stream is closed for good: the reason decides what to do.
    if (source.readyState === EventSource.CLOSED) this.onRefused();
    source.close();
    this.source = undefined;
    const wait = Math.min(1_000 * 2 ** this.attempts++, 15_000);
    this.retryTimer = window.setTimeout(() => this.connect(), wait * (0.75 + Math.random() / 2));
    this.set({
      connection: this.attempts > 3 || !navigator.onLine ? "offline" : "reconnecting",
      lostAt: this.snapshot.lostAt || Date.now(),
    });
  }

  private alive() {
    this.listenForSilence();
  }

  private listenForSilence() {
    clearTimeout(this.watchdog);
    const source = this.source;
    this.watchdog = window.setTimeout(() => source && this.lost(source), silence);
  }

  private count(d: Decision) {
    const start = Math.floor(Date.parse(d.at) / bucketMs) * bucketMs;
    let bucket = this.fresh.find((b) => b.start === start);
    if (!bucket) {
      bucket = { start, places: new Map() };
      this.fresh.push(bucket);
    }
    const country = d.country || "";
    let n = bucket.places.get(country);
    if (!n) {
      n = { allow: 0, "step-up": 0, deny: 0 };
      bucket.places.set(country, n);
    }
    n[d.outcome]++;
  }

  private sum(): Places {
    const newest = this.fresh.reduce((max, b) => Math.max(max, b.start), 0);
    this.fresh = this.fresh.filter((b) => b.start > newest - buckets * bucketMs);
    const all = new Map<string, PlaceCount>();
    for (const b of this.fresh) {
      for (const [country, n] of b.places) {
        const sum = all.get(country) ?? { allow: 0, "step-up": 0, deny: 0 };
        all.set(country, {
          allow: sum.allow + n.allow,
          "step-up": sum["step-up"] + n["step-up"],
          deny: sum.deny + n.deny,
        });
      }
    }
    return all;
  }

  private tellSoon() {
    if (this.tellTimer !== undefined) return;
    this.tellTimer = window.setTimeout(() => {
      this.tellTimer = undefined;
      if (this.pending.length === 0) return;
      const known = new Set(this.snapshot.decisions.slice(0, 600).map((d) => d.id));
      const fresh = this.pending.filter((d) => !known.has(d.id)).reverse();
      this.pending = [];
      this.set({ decisions: [...fresh, ...this.snapshot.decisions].slice(0, kept), places: this.sum() });
    }, tellEvery);
  }

  private set(change: Partial<Snapshot>) {
    this.snapshot = { ...this.snapshot, ...change };
    for (const tell of this.listeners) tell();
  }
}

/** The stream of this tab. */
export const live = new Live();
