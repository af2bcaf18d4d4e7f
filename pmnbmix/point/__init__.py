"""Point estimates: maximum likelihood by EM, and the posterior mode by penalised EM."""
