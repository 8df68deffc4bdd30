// Package rooms holds no code: its tests are the rules of the house. Rooms of
// core/ stand in one order and import only what stands before them; some
// libraries belong to one room; every room has a doc.go at its door.
package rooms
