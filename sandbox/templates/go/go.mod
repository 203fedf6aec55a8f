module acme.example/@NAME@

go 1.19
