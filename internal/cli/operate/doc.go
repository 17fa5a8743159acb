// Package operate is the room of the commands that run an installation: its
// configuration, its diagnosis, its keys and its copies. Each noun is a
// function that makes its commands; package cli lists them.
package operate
