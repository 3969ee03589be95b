from fabula.planning.plan import *
from fabula.planning.machines import MACHINES
from fabula.planning.configs import config_of
import torch
for m,rows,len_,again,meas,n in (("llama-2-7b",2,2048,False,33.9,9735),("llama-2-7b",8,2048,True,12.7,8793),("mistral-7b",2,2048,False,37.8,8799),("mistral-7b",8,2048,True,13.5,8551)):
    r=Recipe.model_validate(dict(name="x",base_model="x",method="qlora",lora=dict(dropout=.05),data=[dict(corpus="sample")],steps=1,sequence_length=len_,micro_batch_size=rows,batch_size=rows,dtype="bfloat16"))
    t=trace(config_of(m),r,torch.bfloat16,True,True)
    mem=memory_of(r,t,MACHINES["h200"],rows,again); tot=(mem.total-mem.libraries)/GIB
    print(m,again,round(tot,2),meas,f"{tot/meas-1:+.1%}", {k:round(v/GIB,2) for k,v in asdict(mem).items()}, "tok/s", round(SHARE[again]*806e12/flop_per_token(t,len_,False,again)),n)
