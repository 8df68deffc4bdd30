package archive

import "context"

// Listed tells whether the catalogue knows every file of a stream.
func Listed(a *Archive, uid string) bool { return len(a.inMemory(uid)) == 0 }

// LookOver compares a space with its list now.
func LookOver(ctx context.Context, a *Archive, space string) error {
	return a.lookOver(ctx, a.space(space))
}
