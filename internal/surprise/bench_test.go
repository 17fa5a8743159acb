package surprise

import (
	"math/rand/v2"
	"testing"
)

func benchPage() (*Page, []Observation) {
	r := rand.New(rand.NewPCG(1, 1))
	s := deploying
	s.days = 7
	p := raise(s, r)
	return p, s.play(r, s.days*288, monday.AddDate(0, 0, s.days))
}

func BenchmarkScore(b *testing.B) {
	p, obs := benchPage()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		p.Score(obs[i%len(obs)], nil)
		i++
	}
}

func BenchmarkScoreUnseen(b *testing.B) {
	p, obs := benchPage()
	var builder PriorBuilder
	builder.Add(p)
	prior := builder.Build(builder.Build(nil))
	o := obs[0]
	o.Network, o.ASN, o.Country, o.Agent, o.Action = 1, 2, 3, 4, 5
	b.ReportAllocs()
	for b.Loop() {
		p.Score(o, prior)
	}
}

func BenchmarkLearn(b *testing.B) {
	p, obs := benchPage()
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		o := obs[i%len(obs)]
		o.At += int64(i) * 1e5
		p.Learn(o)
		i++
	}
}
