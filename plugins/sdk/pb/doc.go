// Package pb is the plugin protocol as generated code. plugin.proto is the
// source and carries the documentation; PROTOCOL.md in the parent folder says
// how the messages are used. Nothing is written by hand here but this file.
package pb

//go:generate protoc --go_out=. --go_opt=paths=source_relative --go-grpc_out=. --go-grpc_opt=paths=source_relative plugin.proto
