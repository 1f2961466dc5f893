import { isDeepStrictEqual } from 'node:util';
import type { ManifestServer } from '@zerolatency/policy';

/**
 * What holds the place of one server name.
 *
 *   (nobody) --wanted--> running --unwanted, or wanted otherwise--> draining
 *      ^                    ^                                          |
 *      |                    +--- gone, and wanted ---------------------+
 *      +--------------------------- gone, and unwanted ----------------+
 *
 * A name is never given to two processes: what is wanted anew waits in `next`
 * for the one before it to be gone, and a newer manifest may change its mind.
 */
export type Post =
  | { readonly name: 'running'; readonly spec: ManifestServer }
  | { readonly name: 'draining'; readonly next: ManifestServer | undefined };

/** By server name: first those of the manifest, in its order. */
export type Posts = ReadonlyMap<string, Post>;

export type PostsEvent =
  /** The servers of the manifest that took hold. */
  | { readonly wanted: readonly ManifestServer[] }
  /** No process of this draining server is left. */
  | { readonly gone: string };

export interface ServerPlan {
  readonly posts: Posts;
  /** To take no more calls, end those that run, and stop. */
  readonly drain: readonly string[];
  readonly start: readonly ManifestServer[];
}

/** What every other server does, it goes on doing. */
export function planServers(posts: Posts, event: PostsEvent): ServerPlan {
  return 'wanted' in event ? planWanted(posts, event.wanted) : planGone(posts, event.gone);
}

/** Whether the manifest in force names the server, be it one that is not started yet. */
export function isWanted(post: Post | undefined): boolean {
  return post?.name === 'running' || post?.next !== undefined;
}

function planWanted(before: Posts, wanted: readonly ManifestServer[]): ServerPlan {
  const posts = new Map<string, Post>();
  const drain: string[] = [];
  const start: ManifestServer[] = [];
  for (const spec of wanted) {
    const post = before.get(spec.name);
    if (post === undefined) start.push(spec);
    if (post === undefined || (post.name === 'running' && isDeepStrictEqual(post.spec, spec))) {
      posts.set(spec.name, { name: 'running', spec });
      continue;
    }
    if (post.name === 'running') drain.push(spec.name);
    posts.set(spec.name, { name: 'draining', next: spec });
  }
  for (const [name, post] of before) {
    if (posts.has(name)) continue;
    if (post.name === 'running') drain.push(name);
    posts.set(name, { name: 'draining', next: undefined });
  }
  return { posts, drain, start };
}

function planGone(before: Posts, gone: string): ServerPlan {
  const posts = new Map(before);
  const post = before.get(gone);
  const next = post?.name === 'draining' ? post.next : undefined;
  if (next !== undefined) {
    posts.set(gone, { name: 'running', spec: next });
    return { posts, drain: [], start: [next] };
  }
  if (post?.name === 'draining') posts.delete(gone);
  return { posts, drain: [], start: [] };
}
