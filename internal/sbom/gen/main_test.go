package main

import (
	"os"
	"testing"
)

func TestLicenceTextsAreTold(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"Permission is hereby granted, free of\ncharge, to any person", "MIT"},
		{"Apache License\n  Version 2.0, January 2004", "Apache-2.0"},
		{"Redistribution and use in source and binary forms ... Neither the name of", "BSD-3-Clause"},
		{"Redistribution and use in source and binary forms, with", "BSD-2-Clause"},
		{"Permission to use, copy, modify, and/or distribute this software ... appear in all copies", "ISC"},
		{"Permission to use, copy, modify, and/or distribute this software for any purpose", "0BSD"},
		{"Permission is hereby granted, free of charge ... Apache License Version 2.0", "Apache-2.0 AND MIT"},
		{"Mozilla Public License Version 2.0 ... GNU General Public License", "MPL-2.0"},
		{"GNU General Public License; and: Permission is hereby granted, free of charge", ""},
		{"This is free and unencumbered software", ""},
		{"", ""},
	} {
		if got := classify(tt.text); got != tt.want {
			t.Errorf("classify(%q) = %q, want %q", tt.text, got, tt.want)
		}
	}
}

// TestTheListIsWhatTheProgramLinks fails when a module came or went, or
// changed its licence, and the list was not made again.
func TestTheListIsWhatTheProgramLinks(t *testing.T) {
	got, err := os.ReadFile("../modules.txt")
	if err != nil {
		t.Fatal(err)
	}
	want, err := list()
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != string(want) {
		t.Errorf("internal/sbom/modules.txt is out of date: run make generate\n%s", want)
	}
}
