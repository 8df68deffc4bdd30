// Package titop answers /v1/nvr/convert2mp4, by which video management programs
// of that make have a range of a stream written to a file.
//
//	request ─▶ listed address, or an operator's token ─▶ fields ─▶ exports of api ─▶ {"code":200,"data":{…}}
//
// What does not belong here: exports (export/jobs), the rules of a range (api),
// who asks (door).
//
// Invariants:
//   - A request that is wrong is refused as everywhere here: with its status, and
//     {"error":{"code","message","hint","id"}}.
//   - A field that it does not know is refused, and not ignored.
//   - Times are Unix milliseconds; what can only be seconds is refused, and not
//     taken for a night in 1970.
//
// It starts no goroutine.
package titop
