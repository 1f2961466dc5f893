import type { HandlerContext } from '@connectrpc/connect';

/** Service and method, as gRPC writes them in its paths. */
export function methodOf({ service, method }: Pick<HandlerContext, 'service' | 'method'>): string {
  return `${service.typeName}/${method.name}`;
}
