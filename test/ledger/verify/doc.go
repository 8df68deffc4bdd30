// Command verify accounts for every frame that stamped cameras sent: see the
// documentation of test/ledger. It exits with 1 when a frame is not as it must
// be, with 2 when it could not tell.
//
//	go run ./test/ledger/verify -sent sent.csv -gaps http://…/ranges.json http://…/record.mp4?… [more recordings]
//
// Several recordings are taken as one: ranges that follow each other, say. A
// frame that is in two of them counts as doubled.
package main
