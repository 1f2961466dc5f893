/** The statuses an upgrade is refused with. */
export const reasonPhrases = {
  400: 'Bad Request',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'Not Found',
  429: 'Too Many Requests',
  503: 'Service Unavailable',
} as const;

export function refusalBody(id: string, message: string): string {
  return `${JSON.stringify({ id, message })}\n`;
}
