package archive

// Intents counts the moves and groomings that are not over.
func Intents(a *Archive) (moves, grooms int) {
	for table, n := range map[string]*int{"moves": &moves, "grooms": &grooms} {
		if err := a.state.reader().QueryRow("SELECT count(*) FROM " + table).Scan(n); err != nil {
			panic(err)
		}
	}
	return moves, grooms
}
