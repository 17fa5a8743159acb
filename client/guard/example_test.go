package guard_test

import (
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/muster-id/muster/client/guard"
)

// An application serves only what its point let through.
func Example() {
	g, err := guard.New(guard.Settings{
		Server: "https://muster.example.com", Point: "payments-proxy", RequireBody: true,
		Refused: func(r *http.Request, err error) { fmt.Println("refused:", err) },
	})
	if err != nil {
		log.Fatal(err)
	}
	application := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, _ := guard.From(r.Context())
		fmt.Fprintln(w, "hello", who.Identity)
	})
	srv := httptest.NewServer(g.Handler(application))
	defer srv.Close()
	// Somebody found a way around the point.
	res, err := http.Get(srv.URL + "/payments/1")
	if err != nil {
		log.Fatal(err)
	}
	defer res.Body.Close()
	fmt.Println(res.Status)
	// Output:
	// refused: the request carries no decision assertion
	// 403 Forbidden
}
