package client_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/muster-id/muster/client"
)

// muster stands in for a server in the examples.
func muster() *httptest.Server {
	mux := http.NewServeMux()
	say := func(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }
	mux.HandleFunc("GET /v1/identities", func(w http.ResponseWriter, r *http.Request) {
		page := client.Page[client.Identity]{Items: []client.Identity{{Name: "deploy", Risk: 71}}, Next: "p2"}
		if r.URL.Query().Get("page_token") == "p2" {
			page = client.Page[client.Identity]{Items: []client.Identity{{Name: "settler", Risk: 55}}}
		}
		say(w, page)
	})
	mux.HandleFunc("GET /v1/findings/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("ETag", `"one"`)
		say(w, client.Finding{ID: r.PathValue("id"), Status: "open"})
	})
	mux.HandleFunc("PATCH /v1/findings/{id}", func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusPreconditionFailed)
		say(w, client.Error{Status: http.StatusPreconditionFailed, Detail: "it was changed since you read it; read it again and decide anew"})
	})
	mux.HandleFunc("POST /v1/identities/{id}/credentials", func(w http.ResponseWriter, r *http.Request) {
		say(w, client.NewCredential{ID: "crd_a", Identity: r.PathValue("id")})
	})
	mux.HandleFunc("GET /v1/stream", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, "event: hello\nid: 7\ndata: {}\n\n", "event: finding\nid: 8\ndata: {\"rule\":\"LEAK-01\"}\n\n")
	})
	return httptest.NewServer(mux)
}

func connect(srv *httptest.Server) *client.Client {
	c, err := client.New(srv.URL, "an operator token")
	if err != nil {
		log.Fatal(err)
	}
	return c
}

// Lists are read to their end, page by page.
func ExampleClient_Identities() {
	srv := muster()
	defer srv.Close()
	c := connect(srv)
	q := client.IdentityQuery{ListQuery: client.ListQuery{Filter: "environment:production -owner:* risk>=50", Order: "-risk"}}
	for i, err := range c.Identities(context.Background(), q) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(i.Name, i.Risk)
	}
	// Output:
	// deploy 71
	// settler 55
}

// What somebody else changed meanwhile is not overwritten.
func ExampleIfMatch() {
	srv := muster()
	defer srv.Close()
	c := connect(srv)
	var read string
	f, err := c.GetFinding(context.Background(), "fnd_a", client.ReadETag(&read))
	if err != nil {
		log.Fatal(err)
	}
	_, err = c.SetFinding(context.Background(), f.ID, client.SetFinding{Status: "resolved", Reason: "rotated"}, client.IfMatch(read))
	if client.IsStale(err) {
		fmt.Println("somebody was faster")
	}
	// Output: somebody was faster
}

// A write is repeated until its answer arrives, and happens once.
func ExampleIdempotencyKey() {
	srv := muster()
	defer srv.Close()
	c := connect(srv)
	key := client.NewKey()
	for range 3 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		made, err := c.CreateCredential(ctx, "nhi_a", client.CreateCredential{ExpiresIn: 86400}, client.IdempotencyKey(key))
		cancel()
		if err == nil {
			fmt.Println("made", made.ID)
			return
		}
	}
	// Output: made crd_a
}

// The live stream is followed over restarts of the server and of the network.
func ExampleClient_Follow() {
	srv := muster()
	defer srv.Close()
	c := connect(srv)
	for e, err := range c.Follow(context.Background(), client.StreamQuery{Topics: []string{"finding"}}) {
		if err != nil {
			log.Fatal(err) // waiting does not cure it
		}
		switch e.Name {
		case client.EventReset:
			fmt.Println("too much happened meanwhile: read the lists again")
		case client.EventFinding:
			var f client.Finding
			if err := json.Unmarshal(e.Data, &f); err != nil {
				log.Fatal(err)
			}
			fmt.Println(f.Rule)
			return
		}
	}
	// Output: LEAK-01
}
