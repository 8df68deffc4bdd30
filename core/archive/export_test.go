package archive

import "context"

// Listed tells whether the catalogue knows every file of a stream.
func Listed(a *Archive, uid string) bool { return len(a.inMemory(uid)) == 0 }

// MovesLeft counts the moves that would be finished, or undone, after a crash.
func MovesLeft(a *Archive) int {
	all, err := a.state.allMoves()
	if err != nil {
		panic(err)
	}
	return len(all)
}

var testLevels = map[*Archive]levels{}

// Look does what retention does each minute about thresholds.
func Look(a *Archive) {
	if testLevels[a] == nil {
		testLevels[a] = levels{}
	}
	if _, err := a.Retain(context.Background(), nil); err != nil {
		panic(err)
	}
	a.checkFree(testLevels[a])
}

// LookOver compares a space with its list now.
func LookOver(ctx context.Context, a *Archive, space string) error {
	return a.lookOver(ctx, a.space(space))
}
